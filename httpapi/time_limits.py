"""How long a connection may take: to send a request's head, and to take an answer.

aiohttp alone closes what is idle between two requests. Here, from a connection's start or a later request's first byte,
the whole line and all headers must come within `header_timeout`, however busily single bytes arrive: else the sender is
told and the connection closes. And whoever takes nothing of what is being sent for a few times `body_timeout` is cut
off, also when the connection is already being closed: asyncio would keep it, and its memory, for as long as the other
end likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from httpapi.wire.errors import HeaderTimeout

if TYPE_CHECKING:
    import asyncio

HEADER_SECONDS = 30.0
BODY_SECONDS = 60.0
# Who streams an answer looks after it more closely, and knows what to say of it in the log: that one comes first.
_LATER = 2.5
_GRACE = 2.0


class TimedConnection(RequestHandler):
    """A connection with these limits; the times, in seconds, are set by whoever makes it."""

    header_timeout = HEADER_SECONDS
    body_timeout = BODY_SECONDS
    _wire: asyncio.Transport | None = None
    _limit: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _head_begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request, but not for ever."""
        super().connection_made(transport)
        self._wire = cast("asyncio.Transport", transport)
        assert self._task_handler is not None
        self._task_handler.add_done_callback(self._leaves)
        self._limit = self._loop.call_later(self.header_timeout, self._head_is_late)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; the first ones of a request start its time, the end of its head stops it."""
        super().data_received(data)
        if self._messages:
            self._stop_limit()
        elif data and self._waits_for_request():
            self._head_begun = True
            if self._limit is None:
                self._limit = self._loop.call_later(self.header_timeout, self._head_is_late)
                # Not closed as an idle one meanwhile.
                self._next_keepalive_close_time = self._loop.time() + 2 * self.header_timeout

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing is waited for any more."""
        self._stop_limit()
        self._stop_watch()
        self._wire = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """More waits to be sent than we like: see whether it moves."""
        super().pause_writing()
        self._watch_sending(-1)

    def resume_writing(self) -> None:
        """It does."""
        super().resume_writing()
        self._stop_watch()

    def _waits_for_request(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _stop_limit(self) -> None:
        self._head_begun = False
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _head_is_late(self) -> None:
        self._limit = None
        if self._waiter is None or self._waiter.done():
            return
        if not self._head_begun:
            self.force_close()
            return
        late = HeaderTimeout(f"The request's line and headers did not come within {self.header_timeout:g} seconds.")
        self._messages.append((_ErrInfo(status=408, exc=late, message=str(late)), EMPTY_PAYLOAD))
        self._waiter.set_result(None)

    def _leaves(self, _task: asyncio.Task[None]) -> None:
        self._stop_limit()
        self._watch_sending(-1)

    def _watch_sending(self, before: int) -> None:
        """Look now and again whether what is still to be sent gets less; what stands still is cut off."""
        self._stop_watch()
        if self._wire is None:
            return
        waiting = self._wire.get_write_buffer_size()
        if waiting == before:
            self._wire.abort()
        else:
            self._stall = self._loop.call_later(_LATER * self.body_timeout + _GRACE, self._watch_sending, waiting)

    def _stop_watch(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
