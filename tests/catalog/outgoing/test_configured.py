"""Requests to configured endpoints: they end in time, whatever the other side does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from catalog.stores.outgoing.configured import MOST_ANSWERED, ConfiguredClient, NoAnswer, Silent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@contextlib.asynccontextmanager
async def served(
    answer: Answer, patience: float = 5.0, pace: float | None = None
) -> AsyncIterator[tuple[ConfiguredClient, str]]:
    """A client, and the address of a server that answers each connection's first request so."""

    answering: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.append(asyncio.ensure_future(handled(reader, writer)))

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                await answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    client = ConfiguredClient(patience, pace=pace)
    try:
        yield client, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    finally:
        await client.close()
        server.close()
        for each in answering:
            each.cancel()
        await asyncio.gather(*answering, return_exceptions=True)


def saying(said: bytes) -> Answer:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    return answer


async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def gives(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(MIB)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "it broke off"),
        (b"nonsense\r\n\r\n", "it broke off"),
        (OK % 10 + b"short", "it broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort", "it broke off"),
        (OK % (MOST_ANSWERED + 1) + bytes(MOST_ANSWERED + 1), "without an end"),
    ],
)
def test_what_is_no_whole_answer_is_none(said: bytes, words: str) -> None:
    async def scenario() -> None:
        async with served(saying(said)) as (client, url):
            with pytest.raises(NoAnswer, match=words) as caught:
                await client.ask("GET", url, {})
            assert "127.0.0.1" not in str(caught.value)

    asyncio.run(scenario())


def test_who_leads_on_is_not_followed() -> None:
    async def scenario() -> None:
        said = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
        async with served(saying(said)) as (client, url):
            assert (await client.ask("GET", url, {})).status == 302

    asyncio.run(scenario())


def test_nobody_there_is_told_without_the_address() -> None:
    async def scenario() -> None:
        client = ConfiguredClient(5.0)
        for url in ("http://127.0.0.1:1/", "http://nowhere.invalid/"):
            with pytest.raises(NoAnswer, match="no connection") as caught:
                await client.ask("GET", url, {"X-Secret": "hidden"})
            assert "127.0.0.1" not in str(caught.value)
        await client.close()

    asyncio.run(scenario())


def test_a_silent_server_is_left_in_time() -> None:
    async def halting(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK % 10 + b"short")
        await writer.drain()
        await asyncio.sleep(30)

    async def ask(client: ConfiguredClient, url: str) -> None:
        await client.ask("GET", url, {})

    async def get(client: ConfiguredClient, url: str) -> None:
        async with client.get(url, {}) as answer:
            async for piece in answer.pieces():
                assert bytes(piece) == b"short"

    async def put(client: ConfiguredClient, url: str) -> None:
        await client.put(url, {"Content-Length": str(64 * MIB)}, gives(64), seconds=0.3)

    async def put_all(client: ConfiguredClient, url: str) -> None:
        await client.put(url, {"Content-Length": str(MIB)}, gives(1), seconds=0.3)

    async def scenario() -> None:
        for act, answer in (
            (ask, silent),
            (ask, halting),
            (get, silent),
            (get, halting),
            (put, silent),
            (put_all, silent),
        ):
            async with served(answer, patience=0.3) as (client, url):
                began = time.monotonic()
                with pytest.raises(Silent):
                    await act(client, url)
                assert time.monotonic() - began < 5

    asyncio.run(scenario())


def test_a_server_that_trickles_is_left_though_it_is_never_silent() -> None:
    async def trickles(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK % MIB)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def scene() -> None:
        async with asyncio.timeout(30), served(trickles, pace=0.3) as (client, url), client.get(url, {}) as answer:
            with pytest.raises(Silent, match="less than 16 KiB/s"):
                async for _ in answer.pieces():
                    pass

    asyncio.run(scene())


def test_a_body_is_sent_whole_and_an_early_answer_ends_it() -> None:
    async def takes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(5 * MIB)
        await saying(OK % 0)(reader, writer)

    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")(reader, writer)
        while await reader.read(MIB):
            pass

    async def scenario() -> None:
        async with served(takes) as (client, url):
            reply = await client.put(url, {"Content-Length": str(5 * MIB)}, gives(5), seconds=5)
            assert reply.status == 200
        async with served(refuses) as (client, url):
            reply = await client.put(url, {"Content-Length": str(1000 * MIB)}, gives(1000), seconds=5)
            assert reply.status == 413

    asyncio.run(scenario())


def test_what_the_body_raises_passes_through_and_it_is_read_by_the_caller() -> None:
    class Broken(Exception):
        pass

    async def breaks() -> AsyncIterator[bytes]:
        mine.append(asyncio.current_task())
        yield bytes(MIB)
        raise Broken

    mine: list[object] = []

    async def scenario() -> None:
        async def takes(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            while await reader.read(MIB):
                pass

        async with served(takes) as (client, url):
            with pytest.raises(Broken):
                await client.put(url, {"Content-Length": str(2 * MIB)}, breaks(), seconds=5)
            assert mine == [asyncio.current_task()]

    asyncio.run(scenario())
