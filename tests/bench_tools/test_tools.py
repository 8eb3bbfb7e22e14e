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
    monkeypatch.setattr(tools, "_BOOT", tmp_path)
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


def test_a_guest_has_a_busybox_that_wants_no_library(only_here: Path) -> None:
    assert tools.missing(tools.STATIC_BUSYBOX) == "a static busybox is not installed: apt-get install busybox-static"
    program(only_here, "busybox", "# /lib64/ld-linux-x86-64.so.2")
    assert tools.static_busybox() is None
    program(only_here, "busybox", "# all in one")
    assert tools.static_busybox() == only_here / "busybox"


def test_a_guest_has_the_newest_kernel_that_is_made_for_guests(only_here: Path) -> None:
    assert tools.missing(tools.GUEST_KERNEL).endswith("apt-get install linux-image-cloud-amd64")
    for name in ("vmlinuz-6.1.0-9-cloud-amd64", "vmlinuz-6.1.0-56-cloud-amd64", "vmlinuz-6.12.0-60-generic"):
        (only_here / name).touch()
    assert tools.guest_kernel() == only_here / "vmlinuz-6.1.0-56-cloud-amd64"
    assert not tools.missing(tools.GUEST_KERNEL)


def test_a_program_that_fails_is_told_with_what_it_said(only_here: Path) -> None:
    program(only_here, "losetup", "echo out; echo no device >&2; exit 3")
    with pytest.raises(RuntimeError, match=r"exit code 3: losetup -a\nout\nno device"):
        tools.run("losetup", "-a")


def printed(place: Path, *arguments: str) -> list[str]:
    """The packages, without programs in PATH, and whatever is where root's PATH leads."""
    command = [sys.executable, "-m", "bench.tools", *arguments]
    asked = subprocess.run(command, cwd=ROOT, env={"PATH": str(place)}, capture_output=True, text=True, check=True)
    assert asked.stdout.count("\n") == 1
    return asked.stdout.split()


def test_the_packages_that_are_missing_are_printed_for_make(tmp_path: Path) -> None:
    found = printed(tmp_path)
    assert {"libnbd-bin", "qemu-block-extra", "qemu-system-common", "qemu-utils", "libvirt-clients"} <= set(found)
    assert len(found) == len(set(found))


def test_those_that_tests_use_are_some_of_them(tmp_path: Path) -> None:
    found = printed(tmp_path, "tests")
    assert {"qemu-utils", "nbdkit", "util-linux"} <= set(found) < set(printed(tmp_path))


@pytest.mark.usefixtures("only_here")
def test_a_check_without_its_programs_is_short_and_says_what_to_install(tmp_path: Path) -> None:
    for check, package in ((bitmaps, "qemu-system-common"), (loop, "mount")):
        (figure,) = check(Room(tmp_path, tmp_path, short=True))
        assert not figure.ok
        assert "apt-get install" in figure.detail[0]
        assert package in figure.detail[0]
