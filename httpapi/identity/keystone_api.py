"""Keystone's v3 API, as far as it tells who stands behind a token; asked as a service user.

Everything but a clear answer is IdentityUnavailable: a refused connection, silence, a failure or nonsense of
Keystone's, a redirection (it would take tokens elsewhere), and a service user that Keystone does not let ask. The log
says which, once when it begins and once when it is over; no message holds a token or a password.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from blockstore import clock as clocks
from httpapi.identity.token_answer import AnswerRefused, Token, read_token
from httpapi.wire.errors import IdentityUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_log = logging.getLogger("drystone.identity")
MOST_CONNECTIONS: Final = 16
MOST_ANSWER: Final = 1 << 20
_CONNECT_SECONDS: Final = 5.0
# Of the life of the service user's token, the part that it is used for.
_USED: Final = 0.9
# So often a refused login of the service user is tried again, since more would shut it out there, and so often the same
# trouble is logged.
_PAUSE: Final = 10.0
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,8000}", re.ASCII)
_SAID: Final = (
    "Who is calling cannot be checked now, as the identity service does not answer as it should: "
    "the same request may work in a few seconds."
)


def can_be_token(text: str) -> bool:
    """Whether this is something to ask Keystone about: only what a header can carry as it is."""
    return _TOKEN.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """The user as whom this service asks; names, each in its domain."""

    name: str
    password: str = field(repr=False)
    project: str = "service"
    domain: str = "Default"
    project_domain: str = "Default"


@dataclass(frozen=True, slots=True)
class _Own:
    """The service user's token, and when it was had and is to be renewed."""

    text: str = field(repr=False)
    since: float
    until: float


class KeystoneApi:
    """One process' way to Keystone at `url` (which ends in /v3); for its event loop, where it opens what it needs."""

    def __init__(
        self,
        url: str,
        user: ServiceUser,
        *,
        timeout: float = 10.0,
        ca_file: Path | None = None,
        clock: Callable[[], float] = clocks.monotonic,
    ) -> None:
        """Reads `ca_file`: raises OSError (ssl.SSLError included) when that cannot be used."""
        self.url = url
        self.trouble = ""
        self._user = user
        self._clock = clock
        self._seconds = timeout
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, _CONNECT_SECONDS))
        self._tls = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self._session: aiohttp.ClientSession | None = None
        self._own: _Own | None = None
        self._login: asyncio.Task[_Own] | None = None
        self._refused_at = -math.inf
        self._said = False
        self._said_at = -math.inf

    async def validate(self, text: str, late: bool = False) -> Token | None:  # noqa: FBT001, FBT002  # the port's shape
        """Who stands behind a token, None if nobody; with `late` also one that has expired not too long ago.

        Raises IdentityUnavailable.
        """
        if not can_be_token(text):
            return None
        try:
            # All of it, a login of ours included: whoever asks gets an answer in that time.
            async with asyncio.timeout(self._seconds):
                token = await self._asked(text, late=late)
        except TimeoutError:
            raise self._failed(f"Keystone at {self.url} does not answer in time") from None
        self._told("")
        return token

    async def check(self) -> None:
        """Log in, if need be, and ask about the service user's own token, as about any other.

        Raises IdentityUnavailable, and `trouble` then says why.
        """
        await self.validate((await self._own_token()).text)

    async def close(self) -> None:
        """Leave."""
        if self._login is not None:
            self._login.cancel()
            await asyncio.gather(self._login, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _asked(self, text: str, *, late: bool) -> Token | None:
        own = await self._own_token()
        status, document = await self._validation(own, text, late=late)
        if status == 401 and self._clock() - own.since > _PAUSE:
            # Ours was revoked, or Keystone has new keys.
            if self._own is own:
                self._own = None
            status, document = await self._validation(await self._own_token(), text, late=late)
        if status == 404 and _is_their_error(document, 404):
            return None
        if status == 200:
            try:
                return read_token(document)
            except AnswerRefused as error:
                raise self._failed(f"Keystone's answer about a token is none: {error}") from None
        if status in {401, 403}:
            raise self._failed(
                f"Keystone does not let the user {self._user.name!r} ask about tokens ({status}): give it the role "
                f"service in the project {self._user.project!r}"
            )
        raise self._failed(f"Keystone answers {status} to the question about a token")

    async def _validation(self, own: _Own, text: str, *, late: bool) -> tuple[int, object]:
        path = "/auth/tokens?nocatalog" + ("&allow_expired=1" if late else "")
        # Without the last one Keystone refuses tokens that are bounded by access rules.
        headers = {"X-Auth-Token": own.text, "X-Subject-Token": text, "OpenStack-Identity-Access-Rules": "1.0"}
        status, _, document = await self._call("GET", path, headers)
        return status, document

    async def _own_token(self) -> _Own:
        """The service user's token: had once for all who ask at a time."""
        if self._own is not None and self._clock() < self._own.until:
            return self._own
        if self._clock() - self._refused_at < _PAUSE:
            raise IdentityUnavailable(_SAID)
        if self._login is None or self._login.done():
            self._login = asyncio.create_task(self._log_in())
            self._login.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._login)

    async def _log_in(self) -> _Own:
        asked = self._user
        user = {"name": asked.name, "domain": {"name": asked.domain}, "password": asked.password}
        scope = {"project": {"name": asked.project, "domain": {"name": asked.project_domain}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        body = {"auth": {"identity": identity, "scope": scope}}
        status, headers, document = await self._call("POST", "/auth/tokens?nocatalog", {}, body)
        if status == 401:
            self._refused_at = self._clock()
            raise self._failed(
                f"Keystone refuses the user {asked.name!r} of the domain {asked.domain!r} in the project "
                f"{asked.project!r}: the password is wrong, or the user has no role there"
            )
        text = headers.get("X-Subject-Token", "")
        if status != 201 or not can_be_token(text):
            raise self._failed(f"Keystone answers {status} to the login of the user {asked.name!r}")
        try:
            token = read_token(document)
        except AnswerRefused as error:
            raise self._failed(f"Keystone's answer to a login is none: {error}") from None
        now = self._clock()
        # Not all clocks agree; one that seems to have ended already is used for a while, or each question would log in.
        seconds = max((token.expires - clocks.now_us() / 1e6) * _USED, _PAUSE)
        own = self._own = _Own(text, now, now + seconds)
        return own

    async def _call(
        self, method: str, path: str, headers: Mapping[str, str], body: object = None
    ) -> tuple[int, Mapping[str, str], object]:
        """Status, headers and JSON of an answer, None for what is no JSON."""
        try:
            request = self._opened().request(method, self.url + path, headers=headers, json=body, allow_redirects=False)
            async with request as response:
                return response.status, response.headers, _json_of(await _body_of(response))
        except TimeoutError:
            raise self._failed(f"Keystone at {self.url} does not answer in time") from None
        except (aiohttp.ClientError, OSError, AnswerRefused) as error:
            raise self._failed(
                f"Keystone at {self.url} cannot be asked: {str(error) or type(error).__name__}"
            ) from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS, ssl=self._tls),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "drystone"},
            )
        return self._session

    def _failed(self, why: str) -> IdentityUnavailable:
        self._told(f"{why}.")
        return IdentityUnavailable(_SAID)

    def _told(self, trouble: str) -> None:
        self.trouble = trouble
        # A Keystone that now answers and now does not must not fill the log.
        if trouble and not self._said and self._clock() - self._said_at >= _PAUSE:
            self._said, self._said_at = True, self._clock()
            _log.error("%s Until that is over only tokens that are remembered are let in.", trouble)
        elif self._said and not trouble:
            self._said = False
            _log.info("Keystone answers again.")


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > MOST_ANSWER:
            raise AnswerRefused(f"an answer of more than {MOST_ANSWER} bytes")
    return b"".join(pieces)


def _json_of(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _is_their_error(document: object, code: int) -> bool:
    """Whether a body is one of Keystone's errors: a proxy before it has 404s of its own, which say nothing."""
    error = document.get("error") if isinstance(document, dict) else None
    return isinstance(error, dict) and error.get("code") == code
