"""Trying a request again: after what passes by itself, later and later; after a 401 with another login."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from httpapi.client.errors import ApiError, Interrupted, LoginNeeded, Unreachable, passes_by_itself

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.client.report import Report

T = TypeVar("T")
# How long to wait before each try that follows one without success; after the last, give up.
BACKOFF_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)


class Retrying:
    """`waits` are the seconds before each further try, the usual ones if None."""

    def __init__(self, api: ImagesApi, report: Report, waits: Sequence[float] | None = None) -> None:
        self._api = api
        self._report = report
        self._waits = BACKOFF_SECONDS if waits is None else waits
        self._login = asyncio.Lock()
        self._logins = 0
        self._said = ""

    async def __call__(self, request: Callable[[], Awaitable[T]]) -> T:
        """The answer of `request`, which is made again as often as it may help."""
        tries = 0
        while True:
            logins = self._logins
            try:
                return await request()
            except LoginNeeded:
                if not await self._log_in(logins):
                    raise
            except (Interrupted, Unreachable, ApiError) as failure:
                if not passes_by_itself(failure) or tries >= len(self._waits):
                    raise
                self._note(f"{failure}: trying again in {self._waits[tries]:g} s")
                await asyncio.sleep(self._waits[tries])
                tries += 1

    def _note(self, sentence: str) -> None:
        """Once for requests that fail together."""
        if sentence != self._said:
            self._report.note(sentence)
        self._said = sentence

    async def _log_in(self, before: int) -> bool:
        """Once for all requests that were refused together."""
        async with self._login:
            if self._logins == before:
                if not await self._api.log_in_again():
                    return False
                self._logins += 1
            return True
