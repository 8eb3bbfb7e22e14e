"""What we answer to the script, beside what the real Glance answered: every difference is known, and still one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clients.glance import golden
from tests.clients.glance.compare import found, report
from tests.clients.glance.differences import UNEXPLAINED, reasons
from tests.clients.glance.scenes import SCENES
from tests.clients.glance.steps import labels

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("scene", SCENES)
def test_we_answer_as_the_real_glance_or_as_the_list_of_differences_says(scene: str, tmp_path: Path) -> None:
    assert not report(scene, found(scene, tmp_path / "data"))


def test_the_script_is_long_and_each_of_its_answers_was_recorded() -> None:
    assert sum(len(steps) for steps in SCENES.values()) >= 400
    for scene, steps in SCENES.items():
        assert [each["step"] for each in golden.read(scene)] == labels(steps)


def test_each_reason_for_a_difference_is_in_the_page() -> None:
    told = dict(rows())
    assert told == reasons()
    assert UNEXPLAINED not in told


def rows() -> Iterator[tuple[str, str]]:
    section = PAGE.split("\n## Beside the real Glance\n")[1].split("\n## ")[0]
    for row in re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", section, re.MULTILINE):
        yield row[0], row[1]
