from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blockstore.errors import LeaseLost, StoreUnavailable
from blockstore.leases.flock import FlockLeases, LockFile, holder, is_held, live_files, try_lock

ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from pathlib import Path
from blockstore.leases.flock import FlockLeases
print(FlockLeases(Path(sys.argv[1])).open("work").name, flush=True)
sys.stdin.read()
"""


def hold_elsewhere(directory: Path) -> tuple[subprocess.Popen[str], str]:
    """Another process that holds a lease; the process and the lease's name."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    return other, other.stdout.readline().strip()


def end(other: subprocess.Popen[str]) -> None:
    other.communicate()
    other.wait()


def test_a_lease_is_live_from_its_opening_to_its_closing(tmp_path: Path) -> None:
    leases = FlockLeases(tmp_path)
    assert leases.live() == frozenset()
    one, two = leases.open("one"), leases.open("two")
    assert leases.live() == {one.name, two.name}
    one.check()
    one.close()
    assert leases.live() == {two.name}
    two.close()
    assert leases.live() == frozenset()
    assert list(tmp_path.iterdir()) == []


def test_names_are_never_the_same(tmp_path: Path) -> None:
    leases = FlockLeases(tmp_path)
    names = set()
    for _ in range(50):
        lease = leases.open("again")
        names.add(lease.name)
        lease.close()
    assert len(names) == 50
    assert all(len(bytes.fromhex(name)) == 16 for name in names)


def test_a_lease_of_another_process_is_live_until_it_is_killed(tmp_path: Path) -> None:
    leases = FlockLeases(tmp_path)
    other, name = hold_elsewhere(tmp_path)
    assert leases.live() == {name}
    assert holder(tmp_path / name) == f"{other.pid} work"
    other.send_signal(signal.SIGKILL)
    end(other)
    assert (tmp_path / name).exists(), "the dead can't clean up"
    assert not is_held(tmp_path / name)
    assert leases.live() == frozenset()
    assert not (tmp_path / name).exists(), "the file of a dead owner is removed when it is met"


def test_a_stopped_process_keeps_its_lease(tmp_path: Path) -> None:
    other, name = hold_elsewhere(tmp_path)
    other.send_signal(signal.SIGSTOP)
    assert FlockLeases(tmp_path).live() == {name}
    other.send_signal(signal.SIGCONT)
    end(other)
    assert FlockLeases(tmp_path).live() == frozenset()


def test_a_program_that_is_started_does_not_inherit_a_lease(tmp_path: Path) -> None:
    lease = LockFile(tmp_path, "mine")
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    os.close(lease._fd)
    assert not is_held(tmp_path / lease.name)
    child.communicate()


def test_a_lease_that_was_removed_is_lost(tmp_path: Path) -> None:
    lease = LockFile(tmp_path, "mine")
    lease.check()
    (tmp_path / lease.name).unlink()
    with pytest.raises(LeaseLost, match="somebody removed a lock file of a running process"):
        lease.check()
    lease.close()


def test_a_lease_whose_file_was_replaced_is_lost(tmp_path: Path) -> None:
    lease = LockFile(tmp_path, "mine")
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "other").rename(tmp_path / lease.name)
    with pytest.raises(LeaseLost):
        lease.check()
    lease.close()


def test_files_that_are_being_made_are_not_listed_nor_removed(tmp_path: Path) -> None:
    hidden = tmp_path / ".0123"
    hidden.write_bytes(b"")
    assert live_files(tmp_path) == []
    assert hidden.exists()


def test_a_lock_that_is_not_there_is_not_held_and_has_no_holder(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "none")
    assert holder(tmp_path / "none") == ""


def test_a_lease_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="gone/"):
        LockFile(tmp_path / "gone", "mine")


def test_shared_locks_go_together_and_exclude_an_exclusive_one(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"")
    one, two, three = (os.open(tmp_path / "lock", os.O_RDWR) for _ in range(3))
    assert try_lock(one, shared=True)
    assert try_lock(two, shared=True)
    assert not try_lock(three)
    os.close(one)
    os.close(two)
    assert try_lock(three)
    os.close(three)
