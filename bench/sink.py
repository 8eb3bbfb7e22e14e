"""An aiohttp server that does nothing with what it is sent: what HTTP alone costs on this machine.

python -m bench.sink      prints its port

PUT /file takes any body, GET /SIZE gives that many zeros in writes of 1 MiB, PUT /kept keeps a body in memory and GET
/kept gives it back in the same writes, GET /nothing gives nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

from aiohttp import web

from bench.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = bytes(1 << 20)
_kept = bytearray()


@contextlib.contextmanager
def running() -> Iterator[tuple[str, int]]:
    """A sink in a process of its own: its URL and its process id."""
    command = [sys.executable, "-m", "bench.sink"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid
        finally:
            process.terminate()


async def take(request: web.Request) -> web.Response:
    async for _ in request.content.iter_any():
        pass
    return web.Response(status=204)


async def give(request: web.Request) -> web.StreamResponse:
    left = int(request.match_info["size"])
    response = web.StreamResponse(headers={"Content-Length": str(left)})
    await response.prepare(request)
    while left:
        piece = _PIECE[:left]
        await response.write(piece)
        left -= len(piece)
    return response


async def keep(request: web.Request) -> web.Response:
    _kept.clear()
    async for data in request.content.iter_any():
        _kept.extend(data)
    return web.Response(status=204)


async def give_kept(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(_kept))})
    await response.prepare(request)
    whole = memoryview(_kept)
    for start in range(0, len(whole), len(_PIECE)):
        await response.write(whole[start : start + len(_PIECE)])
    return response


async def nothing(_: web.Request) -> web.Response:
    return web.Response(status=204)


async def _serve() -> None:
    app = web.Application(client_max_size=1 << 40)
    app.add_routes([web.put("/file", take), web.get("/{size:[0-9]+}", give), web.get("/nothing", nothing)])
    app.add_routes([web.put("/kept", keep), web.get("/kept", give_kept)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
