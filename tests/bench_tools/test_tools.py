from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bench import tools
from bench.places import ROOT
from bench.show.increments.bitmaps import bitmaps
from bench.show.increments.loop_device import loop
from bench.show.registry import Room

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one directory where programs are looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_ELSEWHERE", str(tmp_path))
    return tmp_path


def program(place: Path, name: str, script: str) -> None:
    path = place / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_what_is_missing_is_one_sentence_that_says_what_to_install(only_here: Path) -> None:
    assert tools.missing("nbdinfo", "qemu-img", "qemu-io") == (
        "nbdinfo and qemu-img and qemu-io are not installed: apt-get install libnbd-bin qemu-utils"
    )
    program(only_here, "nbdinfo", "exit 0")
    assert not tools.missing("nbdinfo")
    assert tools.missing("tc") == "tc is not installed: apt-get install iproute2"


def test_a_qemu_without_its_curl_driver_lacks_a_package_of_its_own(only_here: Path) -> None:
    program(only_here, "qemu-img", "echo \"qemu-img: Unknown protocol 'http'\" >&2; exit 1")
    assert tools.missing("qemu-img", tools.QEMU_CURL) == (
        "qemu's curl driver is not installed: apt-get install qemu-block-extra"
    )
    program(only_here, "qemu-img", "echo 'CURL: Error opening file' >&2; exit 1")
    assert not tools.missing("qemu-img", tools.QEMU_CURL)


def test_a_program_that_fails_is_told_with_what_it_said(only_here: Path) -> None:
    program(only_here, "losetup", "echo out; echo no device >&2; exit 3")
    with pytest.raises(RuntimeError, match=r"exit code 3: losetup -a\nout\nno device"):
        tools.run("losetup", "-a")


def test_the_packages_that_are_missing_are_printed_for_make(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.tools"]
    asked = subprocess.run(command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    # Without programs in PATH, and whatever is where root's PATH leads.
    assert {"libnbd-bin", "qemu-block-extra", "qemu-system-common", "qemu-utils"} <= set(asked.stdout.split())
    assert asked.stdout.count("\n") == 1


@pytest.mark.usefixtures("only_here")
def test_a_check_without_its_programs_is_short_and_says_what_to_install(tmp_path: Path) -> None:
    for check, package in ((bitmaps, "qemu-system-common"), (loop, "mount")):
        (figure,) = check(Room(tmp_path, tmp_path, short=True))
        assert not figure.ok
        assert "apt-get install" in figure.detail[0]
        assert package in figure.detail[0]
