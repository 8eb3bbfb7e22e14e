from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from httpapi.client.errors import TargetRefused
from httpapi.client.target import HOLE, PIECE, DeviceTarget, StreamTarget, open_target

if TYPE_CHECKING:
    from pathlib import Path


def names_in(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"precious")
    with pytest.raises(TargetRefused, match="exists: choose another name, or replace it with --force"):
        open_target(str(path))
    target = open_target(str(path), force=True)
    target.begin(3)
    target.write(0, memoryview(b"new"))
    assert path.read_bytes() == b"precious"
    target.finish()
    assert path.read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = open_target(str(tmp_path / "disk"))
    (tmp_path / "disk").write_bytes(b"precious")
    with pytest.raises(TargetRefused, match="came into being meanwhile"):
        target.finish()
    target.discard()
    assert (tmp_path / "disk").read_bytes() == b"precious"
    assert names_in(tmp_path) == ["disk"]


def test_two_pulls_to_one_file_do_not_mix(tmp_path: Path) -> None:
    first = open_target(str(tmp_path / "disk"))
    with pytest.raises(TargetRefused, match="another pull is writing"):
        open_target(str(tmp_path / "disk"))
    first.discard()
    assert names_in(tmp_path) == []


def test_the_part_of_a_killed_pull_is_taken_over_and_emptied(tmp_path: Path) -> None:
    (tmp_path / "disk.part").write_bytes(b"old bytes, more than the image has")
    target = open_target(str(tmp_path / "disk"))
    target.begin(10)
    target.finish()
    assert (tmp_path / "disk").read_bytes() == bytes(10)


def test_a_symlink_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    target = open_target(str(tmp_path / "link"), force=True)
    target.begin(3)
    target.write(0, memoryview(b"new"))
    target.finish()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_directories_and_missing_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetRefused, match="is a directory: name a file in it"):
        open_target(str(tmp_path))
    with pytest.raises(TargetRefused, match="No such file"):
        open_target(str(tmp_path / "none" / "disk"))


def test_holes_lie_between_the_runs_of_data(tmp_path: Path) -> None:
    piece = bytearray(PIECE)
    piece[3 * HOLE] = 1
    piece[4 * HOLE] = 1
    piece[9 * HOLE - 1] = 1
    target = open_target(str(tmp_path / "disk"))
    target.begin(PIECE + HOLE + 9)
    target.write(0, memoryview(piece))
    target.write(PIECE, memoryview(bytes(HOLE) + b"the tail!"))
    target.finish()
    assert (tmp_path / "disk").read_bytes() == bytes(piece) + bytes(HOLE) + b"the tail!"
    assert (tmp_path / "disk").stat().st_blocks * 512 <= 5 * HOLE


def test_what_is_neither_file_nor_device_gets_a_stream(tmp_path: Path) -> None:
    target = open_target(os.devnull)
    assert isinstance(target, StreamTarget)
    target.write(0, memoryview(b"gone"))
    os.close(target._descriptor)


def test_a_device_is_written_in_place_zeros_too_and_must_be_large_enough(tmp_path: Path) -> None:
    # A file stands in for the device: the class itself asks for nothing that only a device has.
    path = tmp_path / "device"
    path.write_bytes(b"x" * 1000)
    device = DeviceTarget(str(path))
    with pytest.raises(TargetRefused, match="it does not fit"):
        device.begin(1001)
    device.begin(600)
    device.write(0, memoryview(bytes(500) + b"y" * 100))
    device.finish()
    assert path.read_bytes() == bytes(500) + b"y" * 100 + b"x" * 400
    assert "complete" in device.discard()
    untouched = DeviceTarget(str(path))
    assert "is as it was" in untouched.discard()
    given_up = DeviceTarget(str(path))
    given_up.write(0, memoryview(b"z"))
    assert "must not be used" in given_up.discard()
