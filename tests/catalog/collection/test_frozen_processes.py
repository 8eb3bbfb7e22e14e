"""Real servers that are stopped by a signal while collections run, and go on afterwards."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from blockstore.bare_store import open_bare
from blockstore.index.contract import PackState
from blockstore.leases.flock import held_files
from httpapi.cli.root import OK, run
from tests.kit.filled_store import verified
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

MIB = 1 << 20
DATA = random.Random(8).randbytes(24 * MIB)
WAITED = 3


@contextmanager
def stopped(server: ServeProcess) -> Iterator[None]:
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def collect(root: Path, wait: str = "0.2") -> int:
    return run(["admin", "gc", "--keep-deleted", "0", "--data", str(root), "--wait", wait])


def states(root: Path) -> set[PackState]:
    with open_bare(root, "test", exclusive=False) as store:
        return {record.state for record in store.index.packs()}


def test_a_pack_whose_process_is_only_frozen_is_not_adopted(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with ServeProcess(root) as server:
        image = server.new_image()
        assert server.call("PUT", f"/v2/images/{image}/file", DATA[:MIB])[0] == 204
        with stopped(server):
            assert collect(root) == OK
            assert states(root) == {PackState.OPEN}
        other = server.new_image()
        assert server.call("PUT", f"/v2/images/{other}/file", DATA[MIB : 2 * MIB])[0] == 204
        assert server.call("GET", f"/v2/images/{image}/file")[1] == DATA[:MIB]
    # Killed: now it has no owner.
    assert collect(root) == OK
    assert states(root) == {PackState.SEALED}
    verified(root)


def test_an_upload_of_a_server_that_is_frozen_through_three_collections_ends_well(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    with ServeProcess(root) as server:
        deleted = server.new_image()
        assert server.call("PUT", f"/v2/images/{deleted}/file", DATA)[0] == 204
        assert server.call("DELETE", f"/v2/images/{deleted}")[0] == 204
        image = server.new_image()
        connection = server.begin_upload(image, len(DATA), DATA[:MIB])
        sent = MIB
        while not (writing := _stop_while_writing(server, root)):
            assert sent < len(DATA) - MIB, "it was never met while it wrote"
            connection.sendall(DATA[sent : sent + MIB])
            sent += MIB
        try:
            for _ in range(3):
                assert collect(root) == WAITED
                said = capfd.readouterr().err
                assert f"waited 0.2 s in vain for process {server.process.pid} (serve)" in said
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        connection.sendall(DATA[sent:])
        assert b" 204 " in connection.recv(1000)
        connection.close()
        assert writing
        assert collect(root, "30") == OK
        assert server.call("GET", f"/v2/images/{image}/file") == (200, DATA)
    verified(root)


def _stop_while_writing(server: ServeProcess, root: Path) -> bool:
    """Stop the server while it has a lease; False, and it runs on, if it had none for a moment."""
    for _ in range(50):
        if held_files(root / "leases"):
            os.kill(server.process.pid, signal.SIGSTOP)
            if held_files(root / "leases"):
                return True
            os.kill(server.process.pid, signal.SIGCONT)
        time.sleep(0.002)
    return False
