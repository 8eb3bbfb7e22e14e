"""A process that writes one copy into a far store, slowly, to be killed in the middle of it.

`python -m tests.kit.copying_process s3|swift ADDRESS URL MIB`; a line is printed for each MiB that the store has asked
for.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from catalog.store_ports import StoreInfo
from catalog.stores.memory_budget import FarMemory
from catalog.stores.s3 import S3Copies
from catalog.stores.s3_bucket import Bucket
from catalog.stores.s3_requests import Keys
from catalog.stores.swift import SwiftCopies
from catalog.stores.swift_login import TempAuth
from tests.kit import real_s3, real_swift
from tests.kit.copies import BytesCopy

if TYPE_CHECKING:
    from catalog.store_ports import Store

ROOT: Final = Path(__file__).parents[2]
MIB: Final = 1 << 20


def killed_after(kind: str, address: str, url: str, *, mib: int, of: int) -> None:
    """Let such a process write `of` MiB to `url`, and kill it when the store has asked for `mib` of them."""
    command = [sys.executable, "-m", "tests.kit.copying_process", kind, address, url, str(of)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(mib):
        assert process.stdout.readline(), "it ended by itself"
    process.kill()
    process.communicate()


def opened(kind: str, address: str) -> Store:
    """The store of the tests; Swift's has segments of 2 MiB."""
    if kind == "s3":
        keys = Keys(real_s3.ACCESS_KEY, real_s3.SECRET_KEY)
        bucket = Bucket("images", address, real_s3.REGION, keys, prefix="kept/")
        return S3Copies(StoreInfo("deep", "s3"), bucket, FarMemory())
    login = TempAuth(address, real_swift.USER, real_swift.KEY)
    return SwiftCopies(StoreInfo("object", "swift"), "images", login, segment_size=2 * MIB)


async def write(kind: str, address: str, url: str, mib: int) -> None:
    """Write so many MiB."""

    async def tell(position: int) -> None:
        print(position, flush=True)
        await asyncio.sleep(0.01)

    await opened(kind, address).write(url, BytesCopy(bytes(mib * MIB), before=tell))


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
