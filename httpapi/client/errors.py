"""What can go wrong at the client's end, as one small tree. Each message is a sentence for the user.

ClientError
├── AccessRefused      where the service is, or the login for it, cannot be told or used
│   └── InsecureEndpoint   a password would cross the network in the clear
├── Unreachable        nothing answers at the endpoint
│   └── Untrusted      its certificate is not one to trust
├── NotAnImageService  something answers, and it is no Images API v2
├── Interrupted        the connection broke or stalled in mid-transfer: the same call may be tried again
├── ApiError           the service refused; carries status, message and request id
│   ├── LoginNeeded    401, a login would do, or another one
│   │   └── KeystoneNeeded  only one by Keystone
│   ├── NotFound       404
│   ├── Conflict       409
│   └── TooManyTries   429
├── NoSuchImage        no image has this id, prefix or name
│   ├── NoSuchName     none of the caller's own has this name
│   └── NoDeletedImage no deleted image that can be brought back has it
├── Ambiguous          several images answer to this name or prefix; carries them
├── NoData             the image has no data (yet)
├── Mismatch           the bytes that arrived are not the bytes that were sent
├── SourceRefused      the file to push cannot be read as it should
│   └── PartRefused    only what has changed was to be pushed, and that can't be: all of it may
├── TargetRefused      the place to pull to must not or cannot be written
└── ProgramMissing     a foreign program that this takes is not installed
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
LASTING: Final = frozenset({"damaged", "geometry-broken"})
"""Codes that a 503 may have and that trying again does not change: a block or a manifest is lost until it is mended."""
# How servers without a route answer.
_NO_ROUTE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})


class ClientError(Exception):
    """Root of the tree."""


class EndpointRefused(ClientError):
    """The endpoint cannot be an address of a service."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(f"{endpoint!r} is no address of a service: --endpoint takes the form http://HOST:PORT")


class AccessRefused(ClientError):
    """Where the service is, or who the user is there, cannot be told; the message names the file or variable."""


class InsecureEndpoint(AccessRefused):
    """A password would be read by everybody on the way."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(
            f"{endpoint} is not on this machine and has no TLS, so that others could read the password or token: "
            "use https, or --insecure if the network is yours alone",
        )


class Unreachable(ClientError):
    """Nothing answers at the endpoint."""

    def __init__(self, endpoint: str, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"cannot reach {endpoint} ({reason}): is the server running? start it with `drystone serve`, "
            "or name another with --endpoint",
        )


class Untrusted(Unreachable):
    """What answers at the endpoint cannot prove by its certificate that it is the one that was called."""

    def __init__(self, endpoint: str, reason: str) -> None:
        self.reason = reason
        ClientError.__init__(self, f"{endpoint} is not trusted: {reason}")


class NotAnImageService(ClientError):
    """Something answers at the endpoint that does not speak the Images API v2."""


class Interrupted(ClientError):
    """The connection broke, or no byte moved for too long, in the middle of a request."""


class ApiError(ClientError):
    """The service answered with an error; `status` is HTTP's, `request_id` finds it in the server's log.

    `code` is the error's documented name, where the service is a Drystone.
    """

    def __init__(self, status: int, message: str, request_id: str | None, code: str | None = None) -> None:
        asked = f", request {request_id}" if request_id else ""
        super().__init__(f"{message} (HTTP {status}{asked})")
        self.status = status
        self.message = message
        self.request_id = request_id
        self.code = code


class LoginNeeded(ApiError):
    """401: the service wants a login, or another one."""


class KeystoneNeeded(LoginNeeded):
    """401: the service wants a token of Keystone, or a newer one."""


class TooManyTries(ApiError):
    """429: the service looks at nothing more from this caller for a while."""


class NotFound(ApiError):
    """404: there is no such image, or this caller may not see it."""


class Conflict(ApiError):
    """409: the image is in a state that does not allow this, or the id is taken."""


class NoSuchImage(ClientError):
    """No image answers to what the user typed."""

    def __init__(self, text: str) -> None:
        super().__init__(f"no image has the id, id prefix or name {text!r}: `drystone ls` lists the images")


class NoSuchName(NoSuchImage):
    """None of the caller's own images has this name."""

    def __init__(self, name: str) -> None:
        ClientError.__init__(self, f"no image of yours is called {name!r}: `drystone ls` lists the images")


class NoDeletedImage(NoSuchImage):
    """No deleted image that can be brought back answers to what the user typed."""

    def __init__(self, text: str) -> None:
        ClientError.__init__(
            self,
            f"no deleted image has the id, id prefix or name {text!r}: `drystone ls --deleted` lists those that can be "
            "brought back",
        )


class Candidate(Protocol):
    """An image that may be meant, as it is shown to the user who has to say which."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str | None:
        """Its name, if it has one."""

    @property
    def status(self) -> str:
        """Its status; of a deleted one, the one that it would have again."""

    @property
    def created_at(self) -> str:
        """When it was made."""


class Ambiguous(ClientError):
    """Several images answer to what the user typed; `candidates` are they, newest first."""

    def __init__(self, text: str, candidates: Sequence[Candidate]) -> None:
        super().__init__(f"{text!r} may mean any of {len(candidates)} images: say which by its id")
        self.candidates = tuple(candidates)


class NoData(ClientError):
    """The image is known and has no data to read."""


class Mismatch(ClientError):
    """Size or hash of what arrived differs from what the image's record says."""


class SourceRefused(ClientError):
    """The source of a push cannot be read, or changed while it was read."""


class TargetRefused(ClientError):
    """The target of a pull exists, is too small, is in use, or cannot be written."""


class PartRefused(SourceRefused):
    """Only what has changed was to be pushed, and there is nothing that it could be compared with: all of it may be."""


class ProgramMissing(ClientError):
    """A foreign program that this takes is not installed here."""


def may_pass(failure: Exception) -> bool:
    """Whether the same request may succeed later, so that what has begun is worth keeping."""
    if isinstance(failure, ApiError):
        return failure.status in BUSY
    return isinstance(failure, Interrupted | Unreachable)


def passes_by_itself(failure: Exception) -> bool:
    """Whether the same request may succeed in seconds, without anybody's doing."""
    lasts = isinstance(failure, ApiError) and failure.code in LASTING
    return may_pass(failure) and not lasts


def is_no_route(failure: ApiError) -> bool:
    """Whether the server does not know such a route at all, rather than no such image or upload."""
    return failure.status in _NO_ROUTE and failure.code in {None, "no-such-route", "method-not-allowed"}
