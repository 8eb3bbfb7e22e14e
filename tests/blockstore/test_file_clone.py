"""One file's bytes in another: shared, or copied with holes kept, by the kernel or past it."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from blockstore.file_clone import clone, copy_range, data_extents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    """1 MiB of data, 2 MiB of hole, 5 bytes, and a hole to the end."""
    descriptor = os.open(tmp_path / "source", os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, b"x" * MIB, 0)
    os.pwrite(descriptor, b"12345", 3 * MIB)
    os.ftruncate(descriptor, 5 * MIB + 7)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def extents(source: int, size: int, longest: int = 100 * MIB) -> list[tuple[int, int]]:
    return list(data_extents(source, size, longest))


def test_extents_are_what_is_no_hole(source: int) -> None:
    assert extents(source, 5 * MIB + 7) == [(0, MIB), (3 * MIB, 3 * MIB + 4096)]
    assert extents(source, 3 * MIB + 2) == [(0, MIB), (3 * MIB, 3 * MIB + 2)]
    assert extents(source, 2 * MIB) == [(0, MIB)]
    assert extents(source, 0) == []


def test_extents_are_no_longer_than_is_asked_for(source: int) -> None:
    assert extents(source, MIB, 400_000) == [(0, 400_000), (400_000, 800_000), (800_000, MIB)]


def test_a_file_system_that_knows_of_no_holes_has_data_only(source: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "lseek", refuse)
    assert extents(source, 5 * MIB + 7) == [(0, 5 * MIB + 7)]


@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
def test_a_range_is_copied_to_the_same_place(
    source: int, target: int, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    def refuse(*_: int) -> int:
        assert number is not None
        raise OSError(number, os.strerror(number))

    if number is not None:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    copy_range(source, target, 1000, MIB + 3)
    assert os.pread(target, 2 * MIB, 0) == bytes(1000) + b"x" * (MIB - 1000) + bytes(3)


def test_a_source_that_ends_early_is_told(source: int, target: int) -> None:
    with pytest.raises(EOFError):
        copy_range(source, target, 5 * MIB, 6 * MIB)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_told(source: int, target: int, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", fail)
    monkeypatch.setattr(fcntl, "ioctl", fail)
    for act in (lambda: copy_range(source, target, 0, 5), lambda: clone(source, target)):
        with pytest.raises(OSError, match=os.strerror(number)):
            act()


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY])
def test_files_that_cannot_share_are_no_error(
    source: int, target: int, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    assert not clone(source, target)
    assert os.fstat(target).st_size == 0
