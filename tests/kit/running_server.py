"""A real server in this process, on a free port and a thread of its own, so that tests can be plain and blocking."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aiohttp import web

from catalog.model.caller import Caller
from httpapi.app import build_app
from httpapi.connection import connection_runner
from httpapi.identity.none import NoIdentity

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine, Iterable, Mapping
    from types import TracebackType

    from catalog.usecases.services import Services
    from httpapi.handlers.probes import ProbeHandlers
    from httpapi.identity.contract import Identity
    from httpapi.proxies import WayIn

T = TypeVar("T")
ADMIN = Caller("admin", "default", frozenset({"admin", "member", "reader"}))


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names without regard to case."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The documented name of the error."""
        return self.headers.get("x-drystone-error")


class RunningServer:
    """Serves `services` until left; `call` makes one request, `connect` gives a socket for broken ones."""

    def __init__(
        self,
        services: Services,
        *,
        caller: Caller = ADMIN,
        identity: Identity | None = None,
        body_timeout: float = 20.0,
        header_timeout: float = 20.0,
        way_in: WayIn | None = None,
        tls: ssl.SSLContext | None = None,
        probes: ProbeHandlers | None = None,
    ) -> None:
        self.services = services
        self.port = 0
        self._identity = identity or NoIdentity(caller)
        self._tls = tls
        self._body_timeout = body_timeout
        self._header_timeout = header_timeout
        self._way_in = way_in
        self._probes = probes
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._runner = self.run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        json_body: object = None,
    ) -> Answer:
        """One request on a connection of its own; an iterable body travels chunked."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        payload = body if json_body is None else json.dumps(json_body).encode()
        try:
            connection.request(method, path, body=payload, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def exchange(self, sent: bytes, *, end: bool = True) -> bytes:
        """Send raw bytes, end our side if asked, and read until the server closes."""
        with self.connect() as connection:
            connection.sendall(sent)
            if end:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def answer_before_body(self, head: bytes) -> bytes:
        """The answer to a head whose body never comes; our side ends when it begins, so that nobody waits for that."""
        with self.connect() as connection:
            connection.sendall(head)
            first = connection.recv(65536)
            connection.shutdown(socket.SHUT_WR)
            return first + b"".join(iter(lambda: connection.recv(65536), b""))

    def new_image(self, **attributes: object) -> str:
        """The id of a new image with formats set, queued."""
        document = {"disk_format": "raw", "container_format": "bare", **attributes}
        answer = self.call("POST", "/v2/images", json_body=document)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    def status_of(self, image_id: str) -> str:
        """The image's status as the API tells it."""
        return str(self.call("GET", f"/v2/images/{image_id}").json["status"])

    async def _start(self) -> web.AppRunner:
        app = build_app(
            self.services, self._identity, body_timeout=self._body_timeout, way_in=self._way_in, probes=self._probes
        )
        runner = connection_runner(
            app, shutdown_seconds=1.0, header_timeout=self._header_timeout, body_timeout=self._body_timeout
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.port = runner.addresses[0][1]
        return runner
