"""A few small requests one after another, by what Python brings along: loading aiohttp takes longer than all of them.

For whoever has another way when something is not as usual: it waits for nobody's password, and tries nothing again.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from httpapi.client.answers import LARGEST_JSON, refusal
from httpapi.client.auth import login_in, place_of, trust_of
from httpapi.client.errors import Interrupted, NotAnImageService

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpapi.client.auth import Access

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 120.0


class QuickApi:
    """One service, as `ImagesApi` is; a context manager that holds one connection. Raises the same errors."""

    def __init__(self, access: Access) -> None:
        access = replace(access, login=access.login or login_in(access.endpoint))
        access.check()
        place = urlsplit(place_of(access.endpoint))
        assert place.hostname is not None
        # Without a port http.client would take the end of an IPv6 address for one.
        if place.scheme == "https":
            trust = trust_of(access.cacert)
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                place.hostname, place.port or 443, timeout=CONNECT_SECONDS, context=trust
            )
        else:
            self._http = http.client.HTTPConnection(place.hostname, place.port or 80, timeout=CONNECT_SECONDS)
        self._root = f"{place.path}/v2"
        self._headers = {"Accept": "application/json"}
        if access.login is not None:
            self._headers |= access.login.headers(access.project)

    def __enter__(self) -> Self:
        """Makes no request yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connection."""
        self._http.close()

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, object]:
        """The JSON object that answers, empty if nothing does; `path` is what follows /v2."""
        headers, data = self._headers, None
        if body is not None:
            headers, data = {**headers, "Content-Type": "application/json"}, json.dumps(body).encode()
        try:
            if self._http.sock is None:
                self._http.connect()
            self._http.sock.settimeout(ANSWER_SECONDS)
            self._http.request(method, f"{self._root}{path}", data, headers)
            answer = self._http.getresponse()
            text = _read(answer)
        except (OSError, http.client.HTTPException) as failure:
            # What is left of an answer is nobody's: the next request has a connection of its own.
            self._http.close()
            raise Interrupted(f"the connection broke ({failure})") from failure
        except BaseException:
            self._http.close()
            raise
        if not 200 <= answer.status < 300:
            raise refusal(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)
        return _object(text) if text else {}


def _read(answer: http.client.HTTPResponse) -> bytes:
    """The body, or more of it than is taken; IncompleteRead when it ends too early."""
    text = answer.read(LARGEST_JSON + 1)
    if answer.length and len(text) <= LARGEST_JSON:
        raise http.client.IncompleteRead(text, answer.length)
    return text


def _object(text: bytes) -> dict[str, object]:
    try:
        document = json.loads(text) if len(text) <= LARGEST_JSON else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise NotAnImageService("the answer is no JSON object: check --endpoint")
    return document
