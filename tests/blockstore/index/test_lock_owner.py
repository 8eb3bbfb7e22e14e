"""Naming who holds the index's write lock: another process really holds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from blockstore.index.lock_owner import Process, processes, write_lock_holders
from blockstore.leases.flock import LockFile

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from pathlib import Path
from blockstore.index.lmdb_env import LmdbEnv
from blockstore.leases.flock import LockFile
root = Path(sys.argv[1])
lock = LockFile(root / "processes", "serve")
env = LmdbEnv(root / "index", map_size=1 << 24)
def wait(_transaction):
    print("held", flush=True)
    sys.stdin.read()
if sys.argv[2] == "hold":
    env.write("wait", wait)
else:
    env.read(wait)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("index", "processes"):
        (tmp_path / name).mkdir()
    return tmp_path


def other(root: Path, what: str) -> subprocess.Popen[str]:
    """Another process with the index open, which holds the write lock or does not."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), what],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def holder(root: Path) -> Iterator[subprocess.Popen[str]]:
    process = other(root, "hold")
    yield process
    process.kill()
    process.communicate()


def test_the_holder_is_named_among_several(root: Path, holder: subprocess.Popen[str]) -> None:
    bystander = other(root, "look")
    mine = LockFile(root / "processes", "worker")
    try:
        known = processes(root / "processes")
        assert {process.pid for process in known} == {holder.pid, bystander.pid, os.getpid()}
        [found] = write_lock_holders(root / "index" / "lock.mdb", known)
        assert found.pid == holder.pid
        assert str(found) == f"process {holder.pid} (serve)"
    finally:
        mine.close()
        bystander.communicate()


def test_a_stopped_one_is_said_to_be(root: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGSTOP)
    os.waitpid(holder.pid, os.WUNTRACED)
    [found] = write_lock_holders(root / "index" / "lock.mdb", processes(root / "processes"))
    assert str(found) == f"process {holder.pid} (serve, stopped)"


def test_whoever_has_let_go_is_not_the_holder(root: Path, holder: subprocess.Popen[str]) -> None:
    process = Process(holder.pid, "serve", "S")
    other_one = Process(os.getpid(), "serve", "S")
    holder.communicate()
    assert write_lock_holders(root / "index" / "lock.mdb", [process, other_one]) == [process, other_one]


def test_without_an_answer_the_stopped_ones_are_named_else_all(tmp_path: Path) -> None:
    runs, stands = Process(1, "serve", "S"), Process(2, "worker", "T")
    missing = tmp_path / "lock.mdb"
    assert write_lock_holders(missing, [runs, stands]) == [stands]
    assert write_lock_holders(missing, [runs]) == [runs]
    missing.write_bytes(b"short")
    assert write_lock_holders(missing, [runs]) == [runs]
