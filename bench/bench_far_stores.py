"""Copies into the stores `s3` and `swift` and back, beside what plain obstore and curl reach with the same servers."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import obstore
import pytest

from bench.harness import Benchmark, Ratio, Report, Workload, interleave, under_pytest
from catalog.store_ports import StoreInfo
from catalog.stores.memory_budget import FarMemory
from catalog.stores.s3 import S3Copies
from catalog.stores.s3_bucket import Bucket
from catalog.stores.s3_requests import Keys
from catalog.stores.swift import SwiftCopies
from catalog.stores.swift_login import TempAuth
from tests.kit import real_s3, real_swift

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bench.conftest import Bench
    from catalog.store_ports import Store

pytestmark = pytest.mark.timeout(1200)
SIZE: Final = 256 << 20
PIECE: Final = 1 << 20
PLAIN: Final = "plain"
"""The name of the object that the plain clients write and read."""


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes in memory, as a source."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    async def read(self, start: int, stop: int) -> AsyncIterator[memoryview]:
        for at in range(start, stop, PIECE):
            yield memoryview(self.data)[at : min(at + PIECE, stop)]

    def close(self) -> None:
        """Nothing is open."""


class Copies:
    """A store in turns: each run writes one copy, or reads the last one."""

    def __init__(self, store: Store, data: bytes) -> None:
        self._store = store
        self._data = data
        self._url = ""

    def forget(self) -> None:
        async def scenario() -> None:
            if self._url:
                await self._store.remove(self._url)
            await self._store.close()

        asyncio.run(scenario())

    def write(self) -> None:
        async def scenario() -> None:
            self._url = self._store.place("image")
            await self._store.write(self._url, Held(self._data))
            await self._store.close()

        asyncio.run(scenario())

    def read(self) -> None:
        async def scenario() -> None:
            reader = await self._store.open(self._url, len(self._data))
            taken = 0
            async for piece in reader.read(0, reader.size):
                taken += len(piece)
            assert taken == len(self._data)
            await self._store.close()

        asyncio.run(scenario())


def compared(kind: str, client: str, workloads: tuple[Workload, ...], rounds: int) -> Report:
    report = interleave(workloads, rounds)
    for verb in ("write", "read"):
        ours, plain = report.results[f"{kind}, {verb}"], report.results[f"{client}, {verb}"]
        report.ratios.append(Ratio(f"{kind}, {verb}", ours.mb_per_s, plain.mb_per_s, client))
    return report


def test_s3(benchmark: Benchmark, bench: Bench) -> None:
    data = os.urandom(SIZE)
    file = bench.room / "data"
    file.write_bytes(data)
    with real_s3.S3Server(bench.room / "s3") as server:
        keys = Keys(real_s3.ACCESS_KEY, real_s3.SECRET_KEY)
        bucket = Bucket("images", server.endpoint, real_s3.REGION, keys)
        store = S3Copies(StoreInfo("deep", "s3"), bucket, FarMemory())
        ours, plain = (
            Copies(store, data),
            obstore.store.S3Store(
                "images",
                endpoint=server.endpoint,
                region=real_s3.REGION,
                access_key_id=keys.access,
                secret_access_key=keys.secret,
                virtual_hosted_style_request=False,
                client_options={"allow_http": True},
            ),
        )

        def read() -> None:
            assert sum(map(len, obstore.get(plain, PLAIN).stream())) == SIZE

        workloads = (
            Workload("obstore, write", SIZE, lambda: obstore.put(plain, PLAIN, file, max_concurrency=2)),
            Workload("s3, write", SIZE, ours.write, prepare=ours.forget),
            Workload("obstore, read", SIZE, read),
            Workload("s3, read", SIZE, ours.read),
        )
        for workload in workloads:
            workload.run()
        under_pytest(benchmark, lambda: compared("s3", "obstore", workloads, bench.rounds))


def test_swift(benchmark: Benchmark, bench: Bench) -> None:
    data = os.urandom(SIZE)
    file = bench.room / "data"
    file.write_bytes(data)
    with real_swift.SwiftServer(bench.room / "swift") as server:
        login = TempAuth(server.auth_url, real_swift.USER, real_swift.KEY)
        ours = Copies(SwiftCopies(StoreInfo("object", "swift"), "images", login), data)
        curl = ("curl", "-sSf", "-o", "/dev/null", "-H", f"X-Auth-Token: {server.token}")
        url = f"{server.account_url}/images/{PLAIN}"
        workloads = (
            Workload("curl, write", SIZE, lambda: _run(*curl, "-T", str(file), url)),
            Workload("swift, write", SIZE, ours.write, prepare=ours.forget),
            Workload("curl, read", SIZE, lambda: _run(*curl, url)),
            Workload("swift, read", SIZE, ours.read),
        )
        for workload in workloads:
            workload.run()
        under_pytest(benchmark, lambda: compared("swift", "curl", workloads, bench.rounds))


def _run(*words: str | Path) -> None:
    subprocess.run(words, check=True)
