"""Plays the few answers of Keystone that matter, and every way in which it can fail: what no real one does on demand.

What Keystone is, is tested with the real one (`real_keystone.py`).
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

PASSWORD = "the service user's password"


def told(user: str, project: str | None, /, *roles: str, seconds: float = 3600, **more: object) -> dict[str, Any]:
    """What Keystone tells of a token."""
    token: dict[str, Any] = {
        "user": {"id": user, "name": user.upper(), "domain": {"id": "default", "name": "Default"}},
        "expires_at": datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "roles": [{"id": f"id-{role}", "name": role} for role in roles],
    }
    if project is not None:
        token["project"] = {"id": project, "name": project.upper(), "domain": {"id": "default", "name": "Default"}}
    return {"token": token | more}


class PlayedKeystone:
    """Serves on a free port of loopback until left.

    `tokens` are the valid ones with what is told of them; `expired` those that are told with allow_expired alone.
    `asked` counts questions (`login`, and each token), `logins` keeps what those were. `fail`, when set, answers in
    the place of the rest.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.expired: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.fail: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.login_status = 201
        self.catalog: list[dict[str, Any]] = []
        self.logins: list[Any] = []
        self.own_seconds = 3600.0
        self.delay = 0.0
        self._own: set[str] = set()
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v3"

    def forget_service_tokens(self) -> None:
        """As after new keys: every token of the service user is refused."""
        self._own.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        """Serve, on the port that it had before."""

        async def begin() -> None:
            app = web.Application()
            app.router.add_route("*", "/v3/auth/tokens", self._answer)
            self._runner = web.AppRunner(app, shutdown_timeout=0)
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True).start()
            self.port = self._runner.addresses[0][1]

        asyncio.run_coroutine_threadsafe(begin(), self._loop).result(10)

    def stop(self) -> None:
        """Refuse connections."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        subject = request.headers.get("X-Subject-Token", "")
        self.asked["login" if request.method == "POST" else subject] += 1
        self.headers.append(dict(request.headers))
        await asyncio.sleep(self.delay)
        if self.fail is not None:
            return await self.fail(request)
        if request.method == "POST":
            return await self._log_in(request)
        if request.headers.get("X-Auth-Token") not in self._own:
            return refusal(401)
        late = self.expired if "allow_expired" in request.query else {}
        document = (self.tokens | late).get(subject)
        return refusal(404) if document is None else web.json_response(document)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        body = (await request.json())["auth"]
        self.logins.append(body)
        right = PASSWORD in json.dumps(body["identity"])
        if not right or self.login_status != 201:
            return refusal(401 if not right else self.login_status)
        text = f"service-token-{self.asked['login']}"
        self._own.add(text)
        document = told("drystone", "service", "service", seconds=self.own_seconds, catalog=self.catalog)
        self.tokens[text] = document
        return web.json_response(document, status=201, headers={"X-Subject-Token": text})


def refusal(status: int) -> web.Response:
    """An error as Keystone writes it."""
    error = {"code": status, "message": "It may not be.", "title": "Refused"}
    return web.json_response({"error": error}, status=status)
