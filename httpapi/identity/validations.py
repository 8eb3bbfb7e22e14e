"""Tokens that were asked about, remembered for a while: Keystone is asked once for many requests.

A token is known by a keyed hash that says nothing outside of the process. Valid ones and refused ones are kept apart,
so that a flood of bad tokens pushes no good one out. Requests with one token at once share one question, and whoever
gives up takes the answer from nobody. A token in use is asked about again shortly before its time is over, beside the
requests, which go on with what is known: so nobody waits then, and a short failure of Keystone is not noticed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from blockstore import clock as clocks
from httpapi.metrics.validations import counted
from httpapi.wire.errors import IdentityBusy, WireError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpapi.identity.token_answer import Token

MOST_VALID: Final = 16_384
MOST_BYTES: Final = 16 << 20
# Whoever makes a credential with endless access rules has it asked about each time, at nobody else's cost.
HEAVIEST: Final = 64 << 10
MOST_REFUSED: Final = 4096
REFUSED_SECONDS: Final = 10.0
# Questions under way and waiting: beyond it answers would come too late to be of use.
MOST_ASKED: Final = 256
# So many more for tokens in use, which a flood of new ones must not keep from being asked about again.
MOST_RENEWED: Final = 256
# Of the time that a token is remembered, the part after which it is asked about again.
_EARLY: Final = 0.8
_RETRY_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Known:
    token: Token
    until: float
    renew: float


class Validations:
    """What one process remembers; for its event loop. `ask` takes a token, and whether it may have expired.

    `seconds` is how long a valid token is remembered at most, never beyond its own end; 0 remembers none.
    """

    def __init__(
        self,
        ask: Callable[[str, bool], Awaitable[Token | None]],
        seconds: float,
        *,
        clock: Callable[[], float] = clocks.monotonic,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._valid: OrderedDict[bytes, _Known] = OrderedDict()
        self._bytes = 0
        self._refused: OrderedDict[bytes, float] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Token | None]] = {}

    async def of(self, text: str, *, late: bool = False) -> Token | None:
        """Who stands behind the token, None if nobody does; `late` takes one that has expired, for a service's sake.

        Raises IdentityBusy, or what `ask` raises.
        """
        key = blake2b((b"late " if late else b"") + text.encode(), key=self._secret, digest_size=32).digest()
        known = self._held(key)
        if known is not None:
            counted("cached")
            if known.renew <= self._clock() and key not in self._asking and self._can_renew():
                known.renew = self._clock() + _RETRY_SECONDS
                self._begin(key, text, late=late, beside=True)
            return known.token
        if self._is_refused(key):
            counted("cached-refusal")
            return None
        asking = self._asking.get(key)
        if asking is not None:
            counted("shared")
        else:
            if len(self._asking) >= MOST_ASKED:
                raise IdentityBusy("Too many tokens are being checked: try again in a few seconds.")
            asking = self._begin(key, text, late=late, beside=False)
        return await asyncio.shield(asking)

    def _can_renew(self) -> bool:
        return len(self._asking) < MOST_ASKED + MOST_RENEWED

    async def close(self) -> None:
        """End what is still asked."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _begin(self, key: bytes, text: str, *, late: bool, beside: bool) -> asyncio.Task[Token | None]:
        async def settle() -> Token | None:
            began = self._clock()
            try:
                token = await self._ask(text, late)
            except WireError:
                counted("renewal-failed" if beside else "failed")
                raise
            finally:
                del self._asking[key]
            counted("renewed" if beside else "refused" if token is None else "valid")
            if token is None:
                self._forget(key)
                self._refuse(key)
            else:
                self._remember(key, token, began, late=late)
            return token

        task = self._asking[key] = asyncio.create_task(settle())
        # Of a question that nobody waits for any more, the failure was counted.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def _held(self, key: bytes) -> _Known | None:
        known = self._valid.get(key)
        if known is None:
            return None
        if known.until <= self._clock():
            self._forget(key)
            return None
        self._valid.move_to_end(key)
        return known

    def _remember(self, key: bytes, token: Token, began: float, *, late: bool) -> None:
        """`began` is when it was asked about: a slow answer may tell of a token that was revoked meanwhile."""
        self._forget(key)
        now = self._clock()
        left = token.expires - clocks.now_us() / 1e6
        until = began + self._seconds
        # One that ends by itself is not asked about again: Keystone has told when.
        renew = began + self._seconds * _EARLY
        # One that has expired, and that a service may still use, has no end of its own that counts.
        if now + left < until and not (late and left <= 0):
            until = renew = now + left
        if until <= now or token.weight > HEAVIEST:
            return
        self._valid[key] = _Known(token, until, renew)
        self._bytes += token.weight
        while len(self._valid) > MOST_VALID or self._bytes > MOST_BYTES:
            self._forget(next(iter(self._valid)))

    def _forget(self, key: bytes) -> None:
        known = self._valid.pop(key, None)
        if known is not None:
            self._bytes -= known.token.weight

    def _refuse(self, key: bytes) -> None:
        self._refused[key] = self._clock() + REFUSED_SECONDS
        self._refused.move_to_end(key)
        while len(self._refused) > MOST_REFUSED:
            self._refused.popitem(last=False)

    def _is_refused(self, key: bytes) -> bool:
        until = self._refused.get(key)
        if until is None:
            return False
        if until <= self._clock():
            del self._refused[key]
            return False
        return True
