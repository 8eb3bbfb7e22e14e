"""The recorded answers of the real Glance, a file a scene, a line a step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOM: Final = Path(__file__).parent / "golden"


def write(scene: str, answers: Sequence[dict[str, Any]]) -> None:
    """Keep what a scene was answered."""
    ROOM.mkdir(exist_ok=True)
    lines = (json.dumps({"step": each["step"]} | each, ensure_ascii=False) for each in answers)
    (ROOM / f"{scene}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(scene: str) -> list[dict[str, Any]]:
    """What the real Glance answered."""
    text = (ROOM / f"{scene}.jsonl").read_text(encoding="utf-8")
    # Not splitlines: a name may hold what that takes for the end of a line.
    return [json.loads(line) for line in text.split("\n") if line]
