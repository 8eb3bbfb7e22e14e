from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bench.places import ROOT
from bench.show import registry
from bench.show.__main__ import chosen, line, main, perform
from bench.show.registry import Check, Figure, Part, Room, at_most, holds, told
from bench.show.server import Memory, environment, own_memory, tree

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Check]:
    """No check is registered but the test's own, and none is loaded."""
    registered: dict[tuple[str, str], Check] = {}
    monkeypatch.setattr(registry, "CHECKS", registered)
    monkeypatch.setattr("bench.show.__main__.CHECKS", registered)
    monkeypatch.setattr("bench.show.__main__.load", lambda: None)
    return registered


def register(name: str, *figures: Figure, long_only: bool = False) -> None:
    @registry.check("step", name, "A sentence.", long_only=long_only)
    def run(room: Room) -> Generator[Figure, None, None]:
        assert room.work.is_dir()
        yield from figures


def test_a_line_has_what_figure_bound_and_verdict_and_its_details_below() -> None:
    first, second = line(at_most("growth", 2.5, 2, "MB", ("how\nand why",))).split("\n", 1)
    assert first.split() == ["growth", "2.50", "MB", "<=", "2", "MB", "short"]
    assert second == "      how\n      and why"
    assert line(holds("it is so", True)).endswith("yes  ok")


@pytest.mark.usefixtures("checks")
def test_the_exit_code_is_1_when_one_figure_is_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register("good", told("speed", "3 MB/s"))
    assert main(["step", "--work", str(tmp_path)]) == 0
    register("bad", holds("so", True), holds("not so", False))
    assert main(["step", "--work", str(tmp_path)]) == 1
    register("long", told("speed", "3 MB/s"), long_only=True)
    assert main(["step", "--short", "--work", str(tmp_path)]) == 1
    assert "1 of 3 checks ok; short: step bad; left out: step long\n" in capsys.readouterr().out


def test_a_check_that_raises_is_short_and_the_others_go_on(
    tmp_path: Path, checks: dict[tuple[str, str], Check], capsys: pytest.CaptureFixture[str]
) -> None:
    @registry.check("step", "broken", "A sentence.")
    def run(room: Room) -> Generator[Figure, None, None]:
        yield told("before", "1")
        raise OSError(f"no {room.work.name[:4]}")

    register("after", told("after", "2"))
    assert main(["--work", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "OSError: no show" in out
    assert "  after  " in out
    assert "\n  in 0 s\n" in out
    assert list(tmp_path.iterdir()) == []
    assert len(checks) == 2


@pytest.mark.usefixtures("checks")
def test_a_check_without_a_short_form_is_left_out_of_short_runs(tmp_path: Path) -> None:
    register("long", holds("never asked", False), long_only=True)
    assert perform(chosen("step", None)[0], tmp_path, brief=True) is None
    assert perform(chosen("step", None)[0], tmp_path, brief=False) is False


def test_a_check_is_told_which_part_of_it_is_wanted(tmp_path: Path, checks: dict[tuple[str, str], Check]) -> None:
    @registry.check("step", "long", "A sentence.")
    def run(room: Room) -> Generator[Figure, None, None]:
        yield holds("the part", room.part == Part(2, 5))

    assert main(["--work", str(tmp_path), "--part", "2/5"]) == 0
    assert main(["--work", str(tmp_path)]) == 1
    assert len(checks) == 1
    for wrong in ("0/5", "6/5", "5", "a/b"):
        with pytest.raises(SystemExit):
            main(["--work", str(tmp_path), "--part", wrong])


@pytest.mark.usefixtures("checks")
def test_an_unknown_name_is_a_usage_error_that_names_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    register("good")
    assert main(["step", "--only", "god"]) == 2
    assert "step good" in capsys.readouterr().err


@pytest.mark.usefixtures("checks")
def test_some_can_be_named_or_passed_over() -> None:
    for name in ("one", "two", "three"):
        register(name)
    assert [each.name for each in chosen("step", ["one", "three"])] == ["one", "three"]
    assert [each.name for each in chosen("step", None, ["two"])] == ["one", "three"]
    assert [each.name for each in chosen(None, ["one", "two"], ["two"])] == ["one"]


@pytest.mark.usefixtures("checks")
def test_two_checks_of_one_name_are_refused() -> None:
    register("good")
    with pytest.raises(ValueError, match="two checks of step are called good"):
        register("good")


def test_every_module_of_checks_loads_and_names_its_issue() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.show", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [row.split()[1] for row in done.stdout.splitlines()]
    assert {"round-trip", "memory", "kill", "two-servers", "wheel", "fresh-clone", "fault-kit"} <= set(names)
    assert len(names) == len(set(names))


def test_memory_is_summed_over_the_process_and_its_children() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert set(tree(os.getpid())) >= {os.getpid(), child.pid}
            with Memory(os.getpid()) as watch:
                while len(watch.samples) < 2:
                    assert own_memory(child.pid) >= 0
        finally:
            child.kill()
    assert watch.peak > own_memory(os.getpid()) / 2
    assert own_memory(2**22 + 1) == 0


def test_a_server_is_started_without_the_callers_drystone_and_openstack_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DRYSTONE_DATA", "/elsewhere")
    monkeypatch.setenv("OS_CLOUD", "elsewhere")
    assert environment({"DRYSTONE_LISTEN": "here"}).keys() & {"DRYSTONE_DATA", "OS_CLOUD"} == set()
    assert environment({"DRYSTONE_LISTEN": "here"})["DRYSTONE_LISTEN"] == "here"
