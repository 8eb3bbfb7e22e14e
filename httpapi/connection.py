"""One connection: what aiohttp's own protocol leaves open about broken bodies and unreadable requests.

Four things are added to `aiohttp.web_protocol.RequestHandler`, beside the limits of `time_limits.py`. A client that
ends its side in the middle of a body is answered (aiohttp closes without a word). A body whose chunks are broken ends
the handler that waits for it at once (aiohttp lets it wait for ever). An error outside of every handler has the same
body and headers as the others. And each request's line in the log is written when its answer has left, not when it was
made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import http_exceptions, web
from aiohttp.web_protocol import _ErrInfo

from httpapi.access_log import ACCESS_LINE, AccessLine
from httpapi.admission import check_method
from httpapi.cause import CAUSE, Cause
from httpapi.error_table import INTERNAL_ERROR, SERVER_NAME, error_response, response_for
from httpapi.request_id import REQUEST_ID_HEADER, new_request_id
from httpapi.time_limits import BODY_SECONDS, HEADER_SECONDS, TimedConnection
from httpapi.wire.errors import HeaderTimeout, UnknownMethod

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader
    from aiohttp.web_protocol import RequestHandler

# A request line whose method aiohttp's parser doesn't know; it answers as if the whole were no HTTP.
_REQUEST_LINE = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]{1,80}) [^ \r\n]+ HTTP/1\.[0-9]\r?$", re.MULTILINE)


class Connection(TimedConnection):
    """A server connection; see the module for what it adds."""

    _last_body: StreamReader | None = None
    _left_unread: StreamReader | None = None
    _unknown_method: UnknownMethod | None = None
    ends_with_the_answer = False
    """Whether a body was received past the parser, which therefore can't find the next request."""

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; when they break the body that a handler is reading, say so to that handler."""
        super().data_received(data)
        if not self._messages:
            return
        message, body = self._messages[-1]
        if not isinstance(message, _ErrInfo):
            self._last_body = body
        elif isinstance(message.exc, http_exceptions.BadHttpMethod):
            self._unknown_method = _unknown_method_in(data)
        elif (unfinished := self._unfinished()) is not None:
            _break(unfinished, http_exceptions.TransferEncodingError("the chunks are not as HTTP wants them"))

    @property
    def is_given_up(self) -> bool:
        """Whether what arrives is dropped from now on: the server stops, and this connection's time is over."""
        return self._force_close or self._close

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio asks for the bool, aiohttp never gave one
        """Keep the way back open while a request is at work, so that its answer arrives; else let it close."""
        if self._waiter is not None and not self._waiter.done():
            return False
        body = self._unfinished()
        if body is None:
            self.close()
        elif body is self._left_unread:
            # Its answer is out and nobody wants the rest: there is nothing to wait for.
            body.feed_eof()
            return False
        elif self._parser is not None:
            try:
                self._parser.feed_eof()
            except http_exceptions.HttpProcessingError as error:
                _break(body, error)
        return True

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer and write its line; what has not come of the body by then is read by no handler."""
        self._left_unread = request.content
        if self.ends_with_the_answer:
            resp.force_close()
        answered, lost = await super().finish_response(request, resp, start_time)
        if (line := request.get(ACCESS_LINE)) is not None:
            line.answered(answered, lost=lost)
        return answered, lost

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that no handler answered: unreadable, or a defect of ours, which is logged."""
        if status >= 500:
            super().handle_error(request, status, exc, message)
            message = "The server met a defect of its own; its log has the trace."
            response: web.Response = error_response(status, message, INTERNAL_ERROR).suited(request.headers)
        elif self._unknown_method is not None:
            response = response_for(self._unknown_method)
        elif isinstance(exc, HeaderTimeout):
            response = response_for(exc)
        else:
            reason = " ".join((message or str(exc)).split())
            response = error_response(status, f"This is not HTTP as it should be: {reason}", "bad-request")
        if ACCESS_LINE not in request:
            request[ACCESS_LINE] = AccessLine("-", "-", new_request_id(), request.remote or "-")
            CAUSE.set(Cause(request[ACCESS_LINE].request_id))
        response.headers[REQUEST_ID_HEADER] = request[ACCESS_LINE].request_id
        response.headers["Server"] = SERVER_NAME
        response.force_close()
        return response

    def _unfinished(self) -> StreamReader | None:
        """The body that is still arriving, if any: requests come one after another, so only the last one's can be."""
        return None if self._last_body is None or self._last_body.is_eof() else self._last_body


def _unknown_method_in(data: bytes) -> UnknownMethod | None:
    """The error for a request line in `data` whose method alone is wrong, if there is one."""
    for method in _REQUEST_LINE.findall(data):
        try:
            check_method(method.decode())
        except UnknownMethod as error:
            return error
    return None


def _break(body: StreamReader, error: Exception) -> None:
    """Let the body's reader fail, and nobody wait for the rest of it."""
    body.set_exception(error)
    body.feed_eof()


class _ConnectionServer(web.Server):
    """Makes our connections where aiohttp makes its own."""

    header_timeout = HEADER_SECONDS
    body_timeout = BODY_SECONDS

    def __call__(self) -> RequestHandler:
        connection = Connection(self, loop=self._loop, **self._kwargs)
        connection.header_timeout = self.header_timeout
        connection.body_timeout = self.body_timeout
        return connection


class Runner(web.AppRunner):
    """Runs an application over such connections."""

    header_timeout = HEADER_SECONDS
    body_timeout = BODY_SECONDS

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        options = {name: value for name, value in self._kwargs.items() if name != "access_log_class"}
        server = _ConnectionServer(made.request_handler, request_factory=made.request_factory, **options)
        server.header_timeout = self.header_timeout
        server.body_timeout = self.body_timeout
        return server


def connection_runner(
    app: web.Application,
    *,
    shutdown_seconds: float,
    header_timeout: float = HEADER_SECONDS,
    body_timeout: float = BODY_SECONDS,
) -> Runner:
    """A runner with our connections' settings; what still runs at its cleanup is ended after `shutdown_seconds`."""
    runner = Runner(
        app,
        shutdown_timeout=shutdown_seconds,
        # What was sent is what is stored: nothing is decompressed on the way in.
        auto_decompress=False,
        # An answer came before the end of its body: read on for a moment, so that the client sees the answer and not
        # a reset, then close.
        lingering_time=3.0,
        keepalive_timeout=75.0,
        # A middleware writes one line a request: it knows the request's id.
        access_log=None,
    )
    runner.header_timeout = header_timeout
    runner.body_timeout = body_timeout
    return runner
