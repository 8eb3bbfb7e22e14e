"""The watch on a server's memory: processes come and go under it, and one that broke off tells no figure."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from bench.show.server import Memory, own_memory, tree


def test_a_process_that_is_gone_has_no_descendants_and_no_memory() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert [*tree(process.pid)] == [process.pid]
    assert own_memory(process.pid) == 0


def test_a_watch_of_memory_that_broke_off_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.show.server.tree", lambda _pid: 1 / 0)
    with pytest.raises(RuntimeError, match="not watched"), Memory(os.getpid()):
        time.sleep(0.3)
