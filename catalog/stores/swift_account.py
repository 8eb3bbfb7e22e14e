"""Requests to a Swift account, with a token that is renewed when it is refused, and asked again when they fail."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from blockstore import clock
from catalog.stores.outgoing.configured import ConfiguredClient, NoAnswer, Silent

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable, AsyncIterator, Mapping

    from catalog.stores.outgoing.configured import Reply, Streamed
    from catalog.stores.swift_login import Entry, Login

TRIES: Final = 3
PAUSE: Final = 0.3
"""Seconds before the second try; twice as many before the third."""
FULL: Final = 507
"""Insufficient storage: asking again does not help."""


def may_pass(status: int) -> bool:
    """Whether the same question may be answered later."""
    return status in {408, 429, 498, 499} or (status >= 500 and status not in {501, FULL})


class SwiftAccount:
    """One account. Paths begin with a slash and are encoded. `patience`: seconds that the server may be silent."""

    def __init__(self, login: Login, patience: float, *, tls: ssl.SSLContext | None = None) -> None:
        self._login = login
        self._patience = patience
        self._client = ConfiguredClient(patience, tls=tls)
        self._entry: Entry | None = None
        self._entering = asyncio.Lock()

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        seconds: float | None = None,
    ) -> Reply:
        """A small request that may be asked again, and its answer. Raises NoAnswer, LoginRefused."""
        until = clock.monotonic() + self._patience
        for number in range(1, TRIES + 1):
            last = number == TRIES
            try:
                reply = await self._ask(method, path, headers or {}, body, seconds)
            except NoAnswer as error:
                if last or isinstance(error, Silent) or clock.monotonic() >= until:
                    raise
            else:
                if last or not may_pass(reply.status):
                    return reply
            await asyncio.sleep(PAUSE * number)
        raise AssertionError

    async def put(
        self, path: str, headers: Mapping[str, str], body: AsyncIterable[bytes | memoryview], *, seconds: float
    ) -> Reply:
        """Send a body once. After 401 the next try has a new token. Raises NoAnswer, LoginRefused."""
        entry = await self._entered()
        reply = await self._client.put(
            f"{entry.account}{path}", {**headers, "X-Auth-Token": entry.token}, body, seconds=seconds
        )
        if reply.status == 401:
            self._left(entry)
        return reply

    @contextlib.asynccontextmanager
    async def get(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[Streamed]:
        """An answer whose body is read piece by piece. Raises NoAnswer, LoginRefused."""
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(2):
                entry = await self._entered()
                told = {**headers, "X-Auth-Token": entry.token}
                answer = await stack.enter_async_context(self._client.get(f"{entry.account}{path}", told))
                if answer.status != 401:
                    break
                await answer.whole()
                self._left(entry)
            yield answer

    async def close(self) -> None:
        """Let connections go."""
        await self._client.close()

    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, seconds: float | None
    ) -> Reply:
        for _ in range(2):
            entry = await self._entered()
            told = {**headers, "X-Auth-Token": entry.token}
            reply = await self._client.ask(method, f"{entry.account}{path}", told, body, seconds=seconds)
            if reply.status != 401:
                break
            self._left(entry)
        return reply

    async def _entered(self) -> Entry:
        """What lets in; one login for all who wait for it."""
        async with self._entering:
            if self._entry is None:
                self._entry = await self._login.enter(self._client)
            return self._entry

    def _left(self, entry: Entry) -> None:
        """That token is worth nothing any more."""
        if self._entry is entry:
            self._entry = None
