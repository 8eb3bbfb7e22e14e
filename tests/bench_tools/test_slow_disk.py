from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bench.slow_disk import calls
from bench.slow_disk.calls import Calls, SlowDisk, build

if TYPE_CHECKING:
    from pathlib import Path


def test_each_kind_of_call_is_counted_and_a_plain_write_is_not(tmp_path: Path) -> None:
    disk = SlowDisk(tmp_path, 0)
    seen, _ = disk.probe(4)
    assert seen == Calls(fsync=4, fdatasync=4, synced_writes=12)
    assert seen.total == 20
    assert disk.probe(1)[0] == Calls(1, 1, 3)


def test_the_calls_take_longer_by_the_delay(tmp_path: Path) -> None:
    seen, seconds = SlowDisk(tmp_path, 0.01).probe(2)
    assert seconds >= seen.total * 0.01


def test_the_calls_of_a_programs_children_count_too(tmp_path: Path) -> None:
    disk = SlowDisk(tmp_path, 0)
    sync = f"import os; os.fsync(os.open({str(tmp_path)!r}, os.O_RDONLY)); os.sync()"
    child = f"import subprocess, sys; {sync}; subprocess.run([sys.executable, '-c', {sync!r}], check=True)"
    subprocess.run(disk.command(sys.executable, "-c", child), check=True)
    assert disk.calls() == Calls(fsync=2, others=2)


def test_a_commit_of_the_index_is_seen_as_one_sync_and_one_synced_write(tmp_path: Path) -> None:
    disk = SlowDisk(tmp_path, 0)
    commit = f"import lmdb\nwith lmdb.open({str(tmp_path / 'env')!r}).begin(write=True) as txn: txn.put(b'k', b'v')"
    subprocess.run(disk.command(sys.executable, "-c", commit), check=True)
    assert disk.calls().fdatasync == 1
    assert disk.calls().synced_writes == 1


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(RuntimeError, match="install gcc"):
        build(tmp_path)


def test_what_the_compiler_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.c"
    broken.write_text("int main(void) { return undeclared; }")
    monkeypatch.setattr(calls, "SOURCE", broken)
    with pytest.raises(RuntimeError, match="undeclared"):
        build(tmp_path)


def test_calls_are_told_by_kind() -> None:
    assert str(Calls(1, 2, 3)) == "1 fsync, 2 fdatasync, 3 O_DSYNC writes"
    assert str(Calls(5, 5, 5, 5) - Calls(1, 2, 3, 1)) == "4 fsync, 3 fdatasync, 2 O_DSYNC writes, 4 others"
