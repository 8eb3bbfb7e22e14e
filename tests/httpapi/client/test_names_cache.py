from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blockstore.clock import now_us
from httpapi.client import names_cache
from httpapi.client.block_file import Stamp
from httpapi.client.block_names import NamesFile
from httpapi.client.names_cache import NamesCache

STAMP = Stamp(1, 2, 3, 1_000_000_000, 1_000_000_000)


def kept(tmp_path: Path, stamp: Stamp = STAMP) -> NamesCache:
    names = NamesFile(tmp_path / "names")
    names.write(3, np.full((2, 32), 7, dtype=np.uint8))
    cache = NamesCache(tmp_path / "cache")
    cache.keep(stamp, 4096, names.path, "ab", "first", began_us=now_us())
    names.close()
    return cache


def test_names_are_found_again_for_the_same_file_only(tmp_path: Path) -> None:
    cache = kept(tmp_path)
    found = cache.find(STAMP, 4096)
    assert found is not None
    assert found.names(2, 4).any(axis=1).tolist() == [False, True, True, False]
    for other in (replace(STAMP, size=4), replace(STAMP, mtime_ns=5), replace(STAMP, ctime_ns=5)):
        assert cache.find(other, 4096) is None
        assert cache.manifests_of(other) == {}
    assert cache.find(STAMP, 8192) is None
    assert cache.manifests_of(STAMP) == {"ab": "first"}


def test_the_last_image_of_a_file_is_known_by_its_manifest(tmp_path: Path) -> None:
    cache = kept(tmp_path)
    cache.has_made(replace(STAMP, size=4), "ab", "of another file")
    cache.has_made(STAMP, "cd", "of another manifest")
    assert cache.manifests_of(STAMP) == {"ab": "first"}
    cache.has_made(STAMP, "ab", "second")
    assert cache.manifests_of(STAMP) == {"ab": "second"}
    assert cache.find(STAMP, 4096) is not None
    assert len(list((tmp_path / "cache").iterdir())) == 2


def touched(field: str, when_ns: int) -> Stamp:
    changes: Any = {field: when_ns}
    return replace(STAMP, **changes)


def test_what_was_changed_less_than_two_seconds_before_is_not_kept(tmp_path: Path) -> None:
    for field in ("mtime_ns", "ctime_ns"):
        young = touched(field, now_us() * 1000 - 1_900_000_000)
        assert kept(tmp_path, young).find(young, 4096) is None
        old = touched(field, now_us() * 1000 - 2_100_000_000)
        assert kept(tmp_path, old).find(old, 4096) is not None
        future = touched(field, now_us() * 1000 + 3_600_000_000_000)
        assert kept(tmp_path, future).find(future, 4096) is None


@pytest.mark.parametrize("damage", ["names", "text", "no text"])
def test_a_damaged_cache_is_no_cache(tmp_path: Path, damage: str) -> None:
    cache = kept(tmp_path)
    text = next((tmp_path / "cache").glob("*.json"))
    if damage == "names":
        path = text.with_suffix("")
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif damage == "text":
        text.write_text("[]")
    else:
        text.unlink()
    assert cache.find(STAMP, 4096) is None


def test_two_pushes_that_keep_names_of_one_file_do_not_vouch_for_each_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, plain, inside = kept(tmp_path), shutil.copyfileobj, False
    others = NamesFile(tmp_path / "others")
    others.write(0, np.full((9, 32), 5, dtype=np.uint8))

    def copy(*given: Any) -> None:
        nonlocal inside
        plain(*given)
        if not inside:
            inside = True
            cache.keep(STAMP, 4096, others.path, "cd", "second", began_us=now_us())

    monkeypatch.setattr("shutil.copyfileobj", copy)
    cache = kept(tmp_path)
    assert inside
    found = cache.find(STAMP, 4096)
    assert found is not None
    assert found.names(2, 4).any(axis=1).tolist() == [False, True, True, False]
    assert cache.manifests_of(STAMP) == {"ab": "first"}
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_names_that_are_kept_are_those_of_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever came to lie in their place is not certified."""
    plain = Path.replace

    def tampered(self: Path, target: Path) -> Path:
        if not target.suffix:
            self.write_bytes(bytes(32))
        return plain(self, target)

    monkeypatch.setattr(Path, "replace", tampered)
    assert kept(tmp_path).find(STAMP, 4096) is None


def test_of_a_file_system_in_memory_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 8:1 / / rw - ext4 /dev/sda rw\n23 1 0:33 / /tmp rw shared:1 - tmpfs tmpfs rw\n")
    monkeypatch.setattr(names_cache, "_MOUNTS", mounts)
    for device, is_kept in ((os.makedev(8, 1), True), (os.makedev(0, 33), False), (os.makedev(9, 9), True)):
        stamp = replace(STAMP, device=device)
        assert (kept(tmp_path, stamp).find(stamp, 4096) is not None) == is_kept


def test_those_that_were_not_used_for_the_longest_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_cache, "MOST_KEPT", 2)
    for inode in range(4):
        kept(tmp_path, replace(STAMP, inode=inode))
        path = next(each for each in (tmp_path / "cache").iterdir() if each.name.startswith(f"1-{inode}-4096"))
        os.utime(path.with_suffix(""), (inode + 1, inode + 1))
    cache = NamesCache(tmp_path / "cache")
    assert [cache.find(replace(STAMP, inode=inode), 4096) is not None for inode in range(4)] == [
        False,
        False,
        True,
        True,
    ]


def test_a_directory_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert kept(tmp_path).find(STAMP, 4096) is None
