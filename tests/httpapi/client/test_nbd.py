from __future__ import annotations

import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from blockstore.clock import monotonic
from httpapi.client.block_scan import BlockScan, Geometry
from httpapi.client.errors import ProgramMissing, SourceRefused
from httpapi.client.nbd_bitmap import dirty_extents
from httpapi.client.nbd_file import NbdFile, NbdPlace, parse_uri
from tests.kit.nbd_server import NbdServer

if TYPE_CHECKING:
    from pathlib import Path


def test_an_export_is_read_by_position(tmp_path: Path) -> None:
    data = bytearray(os.urandom(10_000_001))
    with NbdServer(tmp_path / "socket", data) as server:
        file = NbdFile(server.uri)
        assert (file.size, file.stamp()) == (len(data), None)
        piece = memoryview(bytearray(9_000_000))
        file.fill(piece, 1_000_001)
        assert piece == data[1_000_001:]
        file.close()


@pytest.mark.parametrize("shared", [1, 2, 100])
def test_a_server_that_takes_few_connections_is_read_by_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: int
) -> None:
    monkeypatch.setattr("httpapi.client.nbd_file._FURTHER_SECONDS", 0.2)
    data = bytearray(os.urandom(1_000_000))
    with NbdServer(tmp_path / "socket", data, shared=shared) as server:
        file = NbdFile(server.uri)

        def read(offset: int) -> bool:
            return file.fill(memoryview(bytearray(10_000)), offset) == data[offset : offset + 10_000]

        with ThreadPoolExecutor(6) as threads:
            assert all(threads.map(read, range(0, 990_000, 10_000)))
        file.close()


def test_a_read_that_a_server_does_not_answer_ends_when_the_file_is_stopped(tmp_path: Path) -> None:
    with NbdServer(tmp_path / "socket", bytearray(100), shared=1) as server, ThreadPoolExecutor(3) as threads:
        server.silent.set()
        file = NbdFile(server.uri)
        waiting = [threads.submit(file.fill, memoryview(bytearray(10)), 0) for _ in range(3)]
        time.sleep(0.1)
        file.stop()
        for each in waiting:
            with pytest.raises(SourceRefused):
                each.result(5)
        file.close()


def test_a_scan_that_is_interrupted_does_not_wait_for_a_silent_server(tmp_path: Path) -> None:
    async def scan(file: NbdFile) -> None:
        async with BlockScan(file, Geometry(file.size, 4096)).windows(Everything()) as windows:
            async for _ in windows:
                pass

    async def interrupted(file: NbdFile) -> None:
        task = asyncio.create_task(scan(file))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with NbdServer(tmp_path / "socket", bytearray(100_000)) as server:
        server.silent.set()
        file = NbdFile(server.uri)
        began = monotonic()
        asyncio.run(interrupted(file))
        assert monotonic() - began < 5
        file.close()


class Everything:
    """A scan's wish: all is wanted, nothing known."""

    def known(self, first: int, count: int) -> None:
        return None

    def wanted(self, first: int, names: Any) -> Any:
        return np.ones(len(names), dtype=np.bool_)

    def elsewhere(self, first: int, names: Any, which: Any) -> list[Any]:
        return []

    def settled(self, first: int, names: Any) -> bool:
        return False


def test_what_goes_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="cannot reach"):
        NbdFile(f"nbd+unix:///disk?socket={tmp_path}/none")
    with NbdServer(tmp_path / "socket", bytearray(100), error=5) as server:
        with pytest.raises(SourceRefused, match="not to be had: no such export"):
            NbdFile(server.uri.replace("/disk", "/other"))
        file = NbdFile(server.uri)
        with pytest.raises(SourceRefused, match="its error 5"):
            file.fill(memoryview(bytearray(10)), 0)
        file.close()


def test_addresses() -> None:
    assert parse_uri("nbd://host/a%20b") == NbdPlace("a b", host="host", port=10809)
    assert parse_uri("nbd://[::1]:7") == NbdPlace("", host="::1", port=7)
    assert parse_uri("nbd+unix:///x?socket=/run/s") == NbdPlace("x", path="/run/s")
    for uri in ("", "nbds://host/x", "nbd+unix:///x", "nbd://host:99999/x", "/dev/nbd0", "http://host/x"):
        with pytest.raises(SourceRefused, match="is no NBD address"):
            parse_uri(uri)


def fake_nbdinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "bin" / "nbdinfo"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_a_bitmap_is_asked_for_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"offset": 0, "length": 5, "type": 0, "description": "clean"}, {"offset": 5, "length": 7, "type": 1}]
    zeros = [{"offset": 0, "length": 5, "type": 3, "description": "hole,zero"}, {"offset": 5, "length": 7, "type": 0}]
    told = f"case $1 in *b0) echo '{json.dumps(rows)}';; *) echo '{json.dumps(zeros)}';; esac"
    fake_nbdinfo(tmp_path, monkeypatch, f'echo "$@" >> {tmp_path}/said; {told}')
    found = dirty_extents("nbd://host/x", "b0")
    # Its data is dirty: so there is none that is clean.
    assert (list(found.extents), found.clean_end) == ([(5, 7)], 0)
    said = (tmp_path / "said").read_text().splitlines()
    assert said == ["--map=qemu:dirty-bitmap:b0 --json -- nbd://host/x", "--map --json -- nbd://host/x"]


def test_a_bitmap_that_is_not_there_and_a_missing_tool_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nbdinfo(tmp_path, monkeypatch, "echo 'nbdinfo: no such context' >&2; exit 1")
    with pytest.raises(SourceRefused, match="bitmap b0 cannot be read: nbdinfo: no such context"):
        dirty_extents("nbd://host/x", "b0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing, match="nbdinfo is not installed"):
        dirty_extents("nbd://host/x", "b0")
