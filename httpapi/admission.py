"""What no route takes, whatever its path: refused with the right status before anything of the body is read."""

from __future__ import annotations

from http import HTTPMethod
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from httpapi.wire.errors import BadRequest, ExpectationFailed, UnknownCoding, UnknownMethod

if TYPE_CHECKING:
    from aiohttp import web

METHODS = frozenset(each.value for each in HTTPMethod)
"""The methods that HTTP itself defines: one that a path does not take is 405, any other is 501 everywhere."""


def check(request: web.Request) -> None:
    """Raise a WireError for a request that cannot be what its sender means; see the module."""
    check_method(request.method)
    check_target(request.raw_path)
    check_codings(request.headers.getall("Transfer-Encoding", []))
    check_expectation(request.headers.getall("Expect", []))


def check_method(method: str) -> None:
    """Raise UnknownMethod for a method that HTTP does not define."""
    if method not in METHODS:
        raise UnknownMethod(f"There is no method {method[:40]!r} here; HTTP's own are {', '.join(sorted(METHODS))}.")


def check_target(target: str) -> None:
    """Raise BadRequest for a path or query whose bytes, once unescaped, are no UTF-8: it would look for other text."""
    try:
        unquote_to_bytes(target.encode(errors="surrogateescape")).decode()
    except UnicodeError:
        raise BadRequest(
            "The path or the query is not UTF-8; write each character as the escape of its UTF-8."
        ) from None


def check_codings(lines: list[str]) -> None:
    """Raise UnknownCoding unless the body comes as it is or in chunks: what is stored must be what was sent."""
    codings = [each for line in lines for coding in line.split(",") if (each := coding.strip().lower())]
    if codings not in ([], ["chunked"]):
        raise UnknownCoding(
            f"Transfer-Encoding {', '.join(codings)[:80]!r} cannot be undone here: "
            "send the bytes as they are, with a Content-Length or chunked."
        )


def check_expectation(lines: list[str]) -> None:
    """Raise ExpectationFailed for any Expect but the one of RFC 9110."""
    if any(line.strip().lower() != "100-continue" for line in lines):
        raise ExpectationFailed("The only Expect that this service knows is 100-continue.")
