from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from httpapi.client.errors import TargetRefused
from httpapi.client.file_target import HOLE
from httpapi.client.target import PIECE, DeviceTarget, NamedStreamTarget, open_target
from tests.kit.open_files import none_left_open

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


def leftover(directory: Path, name: str, content: bytes = b"old") -> Path:
    """What a killed pull leaves."""
    part = directory / f".{name}.0123456789abcdef.drystone-part"
    part.write_bytes(content)
    return part


def refusing_links(source: object, target: object, **_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


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


def test_a_file_of_the_users_that_is_called_part_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "disk.part").write_bytes(b"precious")
    target = open_target(str(tmp_path / "disk"))
    target.begin(3)
    target.write(0, memoryview(b"new"))
    target.finish()
    assert (tmp_path / "disk.part").read_bytes() == b"precious"
    assert names_in(tmp_path) == ["disk", "disk.part"]


def test_what_a_killed_pull_of_the_same_file_left_is_removed(tmp_path: Path) -> None:
    leftover(tmp_path, "disk")
    others = [leftover(tmp_path, "diskette"), tmp_path / ".disk.mine.drystone-part", tmp_path / ".disk.0123.part"]
    for other in others:
        other.write_bytes(b"precious")
    target = open_target(str(tmp_path / "disk"))
    target.begin(10)
    target.finish()
    assert (tmp_path / "disk").read_bytes() == bytes(10)
    assert names_in(tmp_path) == sorted(["disk", *(other.name for other in others)])


def test_what_only_looks_like_a_leftover_is_neither_opened_nor_removed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".disk.0123456789abcdef.drystone-part")
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / ".disk.00000000000000ff.drystone-part").symlink_to("precious")
    target = open_target(str(tmp_path / "disk"))
    target.discard()
    assert len(names_in(tmp_path)) == 3
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_part_is_hidden_locked_and_its_owners_alone(tmp_path: Path) -> None:
    target = open_target(str(tmp_path / "disk"))
    (part,) = tmp_path.iterdir()
    assert part.name.startswith(".disk.")
    assert part.name.endswith(".drystone-part")
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    with part.open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    target.discard()


def test_a_name_as_long_as_the_file_system_allows_works(tmp_path: Path) -> None:
    target = open_target(str(tmp_path / ("d" * 255)))
    target.begin(1)
    target.finish()
    assert names_in(tmp_path) == ["d" * 255]


def test_a_new_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        open_target(str(tmp_path / "disk")).finish()
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o666])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    (tmp_path / "disk").touch()
    (tmp_path / "disk").chmod(mode)
    open_target(str(tmp_path / "disk"), force=True).finish()
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == mode


def test_where_the_group_cannot_be_kept_another_one_gets_no_more_than_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, user: int, group: int) -> None:
        raise PermissionError

    monkeypatch.setattr("os.fchown", refuse)
    (tmp_path / "disk").touch()
    (tmp_path / "disk").chmod(0o664)
    open_target(str(tmp_path / "disk"), force=True).finish()
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == 0o644


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "disk").touch()
    os.chown(tmp_path / "disk", 1234, 2345)
    open_target(str(tmp_path / "disk"), force=True).finish()
    kept = (tmp_path / "disk").stat()
    assert (kept.st_uid, kept.st_gid) == (1234, 2345)


def test_where_there_are_no_hard_links_a_file_appears_whole_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.link", refusing_links)
    target = open_target(str(tmp_path / "disk"))
    target.begin(3)
    target.write(0, memoryview(b"new"))
    target.finish()
    assert (tmp_path / "disk").read_bytes() == b"new"
    assert names_in(tmp_path) == ["disk"]
    second = open_target(str(tmp_path / "other"))
    (tmp_path / "other").write_bytes(b"precious")
    with pytest.raises(TargetRefused, match="came into being meanwhile"):
        second.finish()
    second.discard()
    assert (tmp_path / "other").read_bytes() == b"precious"


def test_what_became_a_directory_meanwhile_is_refused(tmp_path: Path) -> None:
    target = open_target(str(tmp_path / "disk"), force=True)
    (tmp_path / "disk").mkdir()
    with pytest.raises(TargetRefused, match="is no regular file any more"):
        target.finish()
    target.discard()
    assert names_in(tmp_path) == ["disk"]


def test_refusals_name_the_file_and_leave_no_descriptor(tmp_path: Path) -> None:
    with none_left_open():
        target = open_target(str(tmp_path / "disk"))
        with pytest.raises(
            TargetRefused, match=rf"cannot make {tmp_path / 'disk'} {2**63 - 1} bytes long: File too large"
        ):
            target.begin(2**63 - 1)
        assert target.discard() == f"the incomplete {tmp_path / 'disk'} is removed"
        first = open_target(str(tmp_path / "disk"))
        with pytest.raises(TargetRefused, match="another pull is writing"):
            open_target(str(tmp_path / "disk"))
        first.discard()
    assert names_in(tmp_path) == []


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
    with pytest.raises(TargetRefused, match="an empty text names no file"):
        open_target("")


def test_a_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(TargetRefused, match="is a socket"):
            open_target(str(tmp_path / "socket"))


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


def test_what_is_neither_file_nor_device_gets_a_stream() -> None:
    with none_left_open():
        target = open_target(os.devnull)
        assert isinstance(target, NamedStreamTarget)
        target.begin(4)
        target.write(0, memoryview(b"gone"))
        target.finish()
        assert "got it all" in target.discard()


def test_a_full_device_is_named() -> None:
    target = open_target("/dev/full")
    target.begin(4)
    with pytest.raises(TargetRefused, match="cannot write /dev/full: No space left"):
        target.write(0, memoryview(b"gone"))
    target.discard()


def test_a_named_pipe_is_waited_for_and_gets_every_byte(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    content = os.urandom(3 * PIECE)
    got: list[bytes] = []
    target = open_target(str(tmp_path / "pipe"))
    reading = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()), daemon=True)
    writing = threading.Thread(target=lambda: target.begin(len(content)), daemon=True)
    writing.start()
    reading.start()
    writing.join(20)
    target.write(0, memoryview(content))
    target.finish()
    reading.join(20)
    assert got == [content]


def test_waiting_for_a_pipes_reader_ends_when_it_is_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    target = open_target(str(tmp_path / "pipe"))
    refused: list[TargetRefused] = []

    def begin() -> None:
        try:
            target.begin(1)
        except TargetRefused as failure:
            refused.append(failure)

    waiting = threading.Thread(target=begin, daemon=True)
    waiting.start()
    assert target.discard() == f"nothing was written to {tmp_path / 'pipe'}"
    waiting.join(20)
    assert "nobody has opened" in str(refused[0])


def test_a_pipe_whose_reader_sleeps_can_be_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    sleeping = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    target = open_target(str(tmp_path / "pipe"))
    target.begin(PIECE)
    refused: list[TargetRefused] = []

    def write() -> None:
        try:
            target.write(0, memoryview(bytes(PIECE)))
        except TargetRefused as failure:
            refused.append(failure)

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    assert select.select([sleeping], [], [], 20)[0]
    assert "must not be used" in target.discard()
    writing.join(20)
    assert refused
    os.close(sleeping)


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
