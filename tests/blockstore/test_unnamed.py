from __future__ import annotations

import fcntl
import gc
import os
from typing import TYPE_CHECKING

import pytest

from blockstore.disk import Disk
from blockstore.errors import StoreUnavailable
from blockstore.leases.flock import try_lock
from blockstore.unnamed import Hold, create

if TYPE_CHECKING:
    from pathlib import Path


def is_free(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        return try_lock(fd)
    finally:
        os.close(fd)


def test_a_new_file_is_locked_until_its_hold_is_released(tmp_path: Path) -> None:
    hold = Hold(create(Disk(), tmp_path / "new"))
    assert not is_free(tmp_path / "new")
    hold.release()
    hold.release()
    assert is_free(tmp_path / "new")


def test_a_hold_that_nobody_has_any_more_is_none(tmp_path: Path) -> None:
    hold = Hold(create(Disk(), tmp_path / "new"))
    del hold
    gc.collect()
    assert is_free(tmp_path / "new")


@pytest.mark.parametrize("unlinks", [True, False])
def test_who_makes_a_file_that_a_collection_has_just_taken_is_told_so(tmp_path: Path, *, unlinks: bool) -> None:
    path = tmp_path / "new"

    class Overtaken(Disk):
        def create(self, path: Path) -> int:
            fd = super().create(path)
            self.other = os.open(path, os.O_RDWR)
            fcntl.flock(self.other, fcntl.LOCK_EX)
            if unlinks:
                path.unlink()
                os.close(self.other)
            return fd

    disk = Overtaken()
    with pytest.raises(StoreUnavailable, match="send the upload again"):
        create(disk, path)
    if not unlinks:
        os.close(disk.other)
        assert is_free(path), "and keeps nothing open"
