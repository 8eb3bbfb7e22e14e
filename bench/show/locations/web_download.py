"""An import from a server that drops the connection again and again: every byte right, hardly one fetched twice."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final

from bench.images import MIB
from bench.show import client
from bench.show.registry import MB, Figure, Room, at_most, check, holds, told
from bench.show.server import Server
from tests.kit.broken_web import BrokenWeb, Served

if TYPE_CHECKING:
    from collections.abc import Generator

SIZE, SIZE_IN_SHORT = 2048 * MIB, 128 * MIB
DROPS: Final = 5
MORE: Final = 1 * MIB
"""Bytes that may be sent beyond the file's: what lay in sockets when the connection broke."""
_ENDS_WITHIN: Final = 600.0
_PERIOD: Final = 61 * MIB + 4097


@check("locations", "web-download", "2 GiB from a server that drops the connection five times: right, each byte once.")
def web_download(room: Room) -> Generator[Figure, None, None]:
    size = SIZE_IN_SHORT if room.short else SIZE
    data = (hashlib.shake_256(b"an image elsewhere").digest(_PERIOD)) * 2

    def read(start: int, stop: int) -> bytes:
        at = start % _PERIOD
        return data[at : at + stop - start]

    with BrokenWeb() as web:
        # Uneven, so that no drop falls on the end of a block or a piece.
        drops = [size // 7 + 1, size // 11 + 3, size // 5 + 77_777, size // 13, size // 9 + 1]
        web.files["/image"] = Served(size=size, read=read, drops=list(drops))
        settings = {"outgoing_ports": str(web.port), "outgoing_networks": "127.0.0.0/8"}
        with Server(room.work / "data", settings=settings) as server:
            image = client.create(server.url, "from elsewhere")
            method = {"name": "web-download", "uri": web.url("/image")}
            began = time.monotonic()
            client.call(f"{server.url}/v2/images/{image}/import", "POST", {"method": method})
            client.wait_for(server.url, image, "active", _ENDS_WITHIN)
            seconds = time.monotonic() - began
            record = client.call(f"{server.url}/v2/images/{image}")
        left, requests = len(web.files["/image"].drops), len(web.asked)
        sent = web.sent
    digest = hashlib.new(record["os_hash_algo"])
    for start in range(0, size, MIB):
        digest.update(read(start, min(start + MIB, size)))
    yield told("the import", f"{size / seconds / MB:.0f} MB/s", (f"{size} bytes in {seconds:.1f} s",))
    yield holds(
        "the size and the hash are right", (record["size"], record["os_hash_value"]) == (size, digest.hexdigest())
    )
    yield holds(
        f"the connection was dropped {DROPS} times", left == 0 and requests == DROPS + 1, (f"{requests} requests",)
    )
    yield at_most("bytes that were sent twice", abs(sent - size) / MIB, MORE / MIB, "MiB")
