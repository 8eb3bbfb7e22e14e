"""A web server on loopback that does what servers do wrong: breaks off, lies, changes, leads elsewhere, stands still.

It speaks HTTP by itself: a real server's library would refuse to lie. It runs in a thread, so any test can use it.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_PIECE = 256 << 10
LONG_AGO = "Tue, 03 Mar 2020 10:00:00 GMT"


@dataclass(slots=True)
class Served:
    """One file. `read(start, stop)` gives its bytes where it is too large to be held as `data`.

    `drops`: the next answers break off after so many bytes of body, one each. `abort`: they do so by a reset, not by an
    orderly end. `after_drop` is called then. `length` is told in the place of the right one; `stall`: seconds before
    the body. `status` with `headers` answers that and no more. `cut`: each range is answered by so many bytes at most.
    """

    data: bytes = b""
    size: int | None = None
    read: Callable[[int, int], bytes] | None = None
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    chunked: bool = False
    endless: bool = False
    drops: list[int] = field(default_factory=list)
    abort: bool = False
    after_drop: Callable[[Served], None] | None = None
    length: int | None = None
    stall: float = 0.0
    status: int = 200
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    shift: int = 0

    def total(self) -> int:
        return len(self.data) if self.size is None else self.size

    def bytes_of(self, start: int, stop: int) -> bytes:
        return self.data[start:stop] if self.read is None else self.read(start, stop)


@dataclass(frozen=True, slots=True)
class Asked:
    path: str
    headers: dict[str, str]


class BrokenWeb:
    """Serves `files`, by path, on a free port of `host` until left. `sent` counts bytes of bodies, `asked` requests."""

    def __init__(self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, Served] = {}
        self.asked: list[Asked] = []
        self.sent = 0
        self.port = 0
        self._host = host
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def url(self, path: str, *, host: str | None = None) -> str:
        return f"{'https' if self._tls else 'http'}://{host or self._host}:{self.port}{path}"

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        self.files[path] = Served(status=status, headers={"Location": location})

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self._busy: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, self._host, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._busy.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (each.partition(":") for each in lines if each)}
        method, path, _ = line.split(" ", 2)
        self.asked.append(Asked(path, headers))
        served = self.files.get(path, Served(status=404))
        status = served.statuses.pop(0) if served.statuses else served.status
        if status != 200:
            _head(writer, status, served.headers | {"Content-Length": "0"})
            await writer.drain()
            return
        await self._give(served, headers, writer, only_head=method == "HEAD")

    async def _give(
        self, served: Served, asked: dict[str, str], writer: asyncio.StreamWriter, *, only_head: bool
    ) -> None:
        start, stop, status, told = _part(served, asked)
        if served.chunked:
            told["Transfer-Encoding"] = "chunked"
        elif not served.endless:
            told["Content-Length"] = str(stop - start if served.length is None else served.length)
        _head(writer, status, told)
        await writer.drain()
        if only_head:
            return
        await asyncio.sleep(served.stall)
        drop = served.drops.pop(0) if served.drops else None
        await self._send(served, writer, start, stop if drop is None else min(stop, start + drop))
        if drop is not None:
            if served.after_drop is not None:
                served.after_drop(served)
            if served.abort:
                writer.transport.abort()
        elif served.chunked:
            writer.write(b"0\r\n\r\n")

    async def _send(self, served: Served, writer: asyncio.StreamWriter, start: int, stop: int) -> None:
        for at in range(start, stop, _PIECE):
            piece = served.bytes_of(at, min(at + _PIECE, stop))
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if served.chunked else piece)
            self.sent += len(piece)
            await writer.drain()


def _part(served: Served, asked: dict[str, str]) -> tuple[int, int, int, dict[str, str]]:
    """What is sent of a file, from where to where, with which status and headers."""
    total = served.total()
    told = {"Date": formatdate(usegmt=True)} | served.headers
    validators = {"ETag": served.etag, "Last-Modified": served.modified}
    told |= {name: text for name, text in validators.items() if text is not None}
    wanted = asked.get("range")
    if wanted is None or not served.ranges or asked.get("if-range") not in {None, *validators.values()}:
        return 0, total, 200, told
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start, stop = int(first), min(int(last) + 1 if last else total, total)
    if start >= total:
        return 0, 0, 416, told | {"Content-Range": f"bytes */{total}"}
    stop = stop if served.cut is None else min(stop, start + served.cut)
    start += served.shift
    return start, stop, 206, told | {"Accept-Ranges": "bytes", "Content-Range": f"bytes {start}-{stop - 1}/{total}"}


def _head(writer: asyncio.StreamWriter, status: int, headers: dict[str, str]) -> None:
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    writer.write(f"HTTP/1.1 {status} So\r\n{lines}Connection: close\r\n\r\n".encode("latin-1"))
