from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bench import boot

if TYPE_CHECKING:
    from pathlib import Path


def disk(tmp_path: Path) -> Path:
    found = tmp_path / "disk"
    found.touch()
    os.truncate(found, 4 << 20)
    return found


def test_a_machine_says_what_stands_on_the_disk_that_it_boots_from(tmp_path: Path) -> None:
    assert boot.make_bootable(disk(tmp_path), seed=1) == boot.boot(str(tmp_path / "disk"))


def test_a_disk_with_a_wrong_sector_says_something_else(tmp_path: Path) -> None:
    said = boot.make_bootable(disk(tmp_path), seed=1)
    whole = (tmp_path / "disk").read_bytes()
    (tmp_path / "disk").write_bytes(whole.replace(said[-1].encode() * boot.SECTOR, b"!" * boot.SECTOR))
    assert boot.boot(str(tmp_path / "disk")) == said.replace(said[-1], "!")


def test_a_disk_that_cannot_be_read_to_its_end_is_told(tmp_path: Path) -> None:
    boot.make_bootable(disk(tmp_path), seed=1)
    os.truncate(tmp_path / "disk", 1 << 20)
    with pytest.raises(boot.DidNotBoot, match="could not read"):
        boot.boot(str(tmp_path / "disk"))
