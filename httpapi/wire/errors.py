"""What a request itself can get wrong, before any image is looked at, and the body every error answer has.

WireError
├── BadRequest            400  malformed header, query or JSON
│   ├── SeveralRanges     400  more than one range in one request
│   └── BadBlockStream    400  a stream of blocks whose items are not as DELTA.md draws them
├── Unauthenticated       401  nobody is known to stand behind the request
├── HostRefused           403  a Host name or an Origin that this identity does not serve
├── ProjectRefused        403  the caller has no part in the project that the request names
├── NoProject             403  the caller's token is of no project
├── AccessRulesRefuse     403  the caller's credential is not for such requests
├── HeaderTimeout         408  the line and headers did not all come in time
├── BodyTimeout           408  the body stopped arriving
├── PreconditionFailed    412  If-Match names other bytes
├── BodyTooLarge          413  a JSON body beyond its limit
├── UnsupportedBody       415  the wrong Content-Type or Content-Encoding
├── RangeUnsatisfiable    416  no byte of the image lies in the range
├── ExpectationFailed     417  an Expect that this service does not know
├── TooManyLogins         429  too many failed logins by this user or from this address
├── IdentityBusy          503  more passwords or tokens wait to be checked than is good
├── IdentityUnavailable   503  the service that knows the callers does not answer as it should
├── UnknownMethod         501  a method that HTTP does not define
└── UnknownCoding         501  a transfer coding other than chunked
"""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from typing import ClassVar


class WireError(Exception):
    """Root of the tree; `code` is the documented name that stands in `x-drystone-error`."""

    code: ClassVar[str] = "wire-error"


class BadRequest(WireError):
    """The request cannot be understood; the message names the part and what is expected there."""

    code = "bad-request"


class SeveralRanges(BadRequest):
    """One request asked for more than one range."""

    code = "several-ranges"


class BadBlockStream(BadRequest):
    """A stream of blocks has an item that is none, numbers that don't ascend or lie outside, or no end."""

    code = "bad-block-stream"


class Unauthenticated(WireError):
    """Nobody is known to stand behind the request; `challenge` says what would be taken (WWW-Authenticate)."""

    code = "unauthenticated"

    def __init__(self, message: str, *, challenge: str = "") -> None:
        super().__init__(message)
        self.challenge = challenge


class TooManyLogins(WireError):
    """Too many logins failed; after `retry_after` seconds the next one is looked at."""

    code = "too-many-logins"

    def __init__(self, message: str, *, retry_after: int = 60) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class IdentityBusy(WireError):
    """More passwords or tokens wait to be checked than is good; the same request may work in a moment."""

    code = "identity-busy"


class IdentityUnavailable(WireError):
    """The service that knows the callers cannot be asked, or its answer decides nothing; so nobody new is let in."""

    code = "identity-unavailable"


class ProjectRefused(WireError):
    """The request names a project in which its caller has no roles."""

    code = "project-refused"


class NoProject(WireError):
    """The caller's token is of a domain, of the system or of nothing, and images belong to projects."""

    code = "no-project"


class AccessRulesRefuse(WireError):
    """The caller's token comes from an application credential whose access rules do not cover the request."""

    code = "access-rules-refuse"


class HostRefused(WireError):
    """The request came by a name, or from a page, that must not reach this service."""

    code = "host-refused"


class HeaderTimeout(WireError):
    """The request's line and headers took too long to come."""

    code = "header-timeout"


class BodyTimeout(WireError):
    """No byte of the body came for too long."""

    code = "body-timeout"


class PreconditionFailed(WireError):
    """The bytes under this name are not the ones that If-Match asked for."""

    code = "precondition-failed"


class BodyTooLarge(WireError):
    """A JSON body is larger than this service reads."""

    code = "body-too-large"


class UnsupportedBody(WireError):
    """The body's type or encoding is not the one this route takes; `accept_patch` is what a PATCH takes (RFC 5789)."""

    code = "unsupported-media-type"

    def __init__(self, message: str, *, accept_patch: str = "") -> None:
        super().__init__(message)
        self.accept_patch = accept_patch


class ExpectationFailed(WireError):
    """The client waits for something that will not come."""

    code = "expectation-failed"


class UnknownMethod(WireError):
    """A method that no route has, here or elsewhere."""

    code = "unknown-method"


class UnknownCoding(WireError):
    """The body travels in a coding that this service cannot undo, so its bytes are not known."""

    code = "unknown-transfer-coding"


class RangeUnsatisfiable(WireError):
    """The range holds no byte; `size` is the image's size in bytes."""

    code = "range-not-satisfiable"

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


def error_document(status: int, message: str) -> dict[str, str]:
    """The JSON body of an error: exactly the three keys that the reference's clients read."""
    phrase = HTTPStatus(status).phrase
    return {"message": message, "code": f"{status} {phrase}", "title": phrase}


def error_page(status: int, message: str) -> str:
    """The same as a page for people. What others wrote stands in it as text, whatever it is."""
    title = escape(f"{status} {HTTPStatus(status).phrase}")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body>\n<h1>{title}</h1>\n<p>{escape(message, quote=False)}</p>\n</body>\n</html>\n"
    )
