"""Where two answers to one step differ, field by field, and the list of what may."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UNEXPLAINED: Final = "unexplained"
REQUEST_ID: Final = "x-openstack-request-id"
LISTED: Final = Path(__file__).parent / "differences.toml"


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One field of one step's answer: what Glance says, and what we say, as JSON; `-` where there is nothing."""

    scene: str
    step: str
    field: str
    theirs: str
    ours: str

    def __str__(self) -> str:
        return f"{self.scene}: {self.step} | {_short(self.field)} | {self.theirs} → {self.ours}"


def between(scene: str, theirs: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> Iterator[Difference]:
    """The differences of a scene."""
    for one, other in zip(theirs, ours, strict=True):
        assert one["step"] == other["step"], "the script has changed: record it anew"
        assert other[REQUEST_ID], "each of our answers has one; of theirs those to whoever is known"
        left, right = dict(_fields(one)), dict(_fields(other))
        if _failed(one) != _failed(other) or one["status"] != other["status"]:
            # What else is told then follows from the status.
            yield Difference(scene, one["step"], "status", left["status"], right["status"])
            continue
        for name in sorted({*left, *right} - {REQUEST_ID}):
            if (a := left.get(name, "-")) != (b := right.get(name, "-")):
                yield Difference(scene, one["step"], name, a, b)


def reasons() -> dict[str, str]:
    """Why answers may differ, by the word that stands for it."""
    return {word: table["why"] for word, table in _listed().items()}


def allowed() -> dict[str, str]:
    """Each difference that may be, with the word for its reason."""
    return {each: word for word, table in _listed().items() for each in table["at"]}


def rewrite(now: Sequence[str]) -> None:
    """Make the list anew of these differences; those without a reason come last."""
    known, tables = allowed(), _listed()
    tables.setdefault(UNEXPLAINED, {"why": "?"})
    kept = {word: table | {"at": []} for word, table in tables.items()}
    for each in now:
        kept[known.get(each, UNEXPLAINED)]["at"].append(each)
    LISTED.write_text("\n".join(_table(word, each) for word, each in kept.items() if each["at"]), encoding="utf-8")


def _table(word: str, table: dict[str, Any]) -> str:
    lines = "".join(f"    {json.dumps(each, ensure_ascii=False)},\n" for each in table["at"])
    return f"[{word}]\nwhy = {json.dumps(table['why'], ensure_ascii=False)}\nat = [\n{lines}]\n"


def _listed() -> dict[str, Any]:
    return tomllib.loads(LISTED.read_text(encoding="utf-8"))


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:60]}…"


def _failed(answer: dict[str, Any]) -> bool:
    return int(answer["status"]) >= 400


def _fields(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _fields(each, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, each in enumerate(value):
            yield from _fields(each, f"{name}.{number}")
    else:
        yield name, json.dumps(value, ensure_ascii=False)
