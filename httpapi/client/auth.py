"""How a client gets in: the service's address, a user and a password, and whose certificates count."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from blockstore.clock import monotonic
from httpapi.client.errors import AccessRefused, EndpointRefused, InsecureEndpoint
from httpapi.wire.hosts import is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from pathlib import Path

PROJECT_HEADER: Final = "X-Project-Id"
TOKEN_HEADER: Final = "X-Auth-Token"  # noqa: S105  # a name
_VERSIONED: Final = re.compile(r"/v2(\.\d+)?$")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password; what is shown of it never holds the password."""

    user: str
    password: str = field(repr=False)

    def headers(self, project: str | None) -> Mapping[str, str]:
        """What makes a request this user's, in this project or else in the user's usual one."""
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}"}
        return headers if project is None else {**headers, PROJECT_HEADER: project}


@dataclass(frozen=True, slots=True)
class TokenLogin:
    """A token of Keystone's, had just now, and the name of whom it was given to; no two are the same."""

    user: str
    token: str = field(repr=False)
    since: float = field(default_factory=monotonic, compare=False)

    @property
    def is_old(self) -> bool:
        """Whether it may have ended since it was had."""
        return monotonic() - self.since > 60

    def headers(self, project: str | None) -> Mapping[str, str]:  # noqa: ARG002  # the token is of one project
        """What makes a request this user's."""
        return {TOKEN_HEADER: self.token}


@dataclass(frozen=True, slots=True)
class Access:
    """One way to a service, and where it was found (`source`, for people).

    `project` is the caller's own; `cacert` a PEM file of authorities that count instead of the system's; `insecure`
    says that the user wants the password sent in the clear.
    """

    endpoint: str
    source: str
    login: Login | TokenLogin | None = None
    project: str | None = None
    cacert: Path | None = None
    insecure: bool = False

    @property
    def in_the_clear(self) -> bool:
        """Whether a password or a token would cross a network where others can read it."""
        parts = _parts(self.endpoint)
        return self.login is not None and parts.scheme == "http" and not is_loopback(parts.hostname)

    def check(self) -> None:
        """Raise InsecureEndpoint when a password would be read by others and nobody has allowed that.

        AccessRefused for a project that no header can carry.
        """
        if self.project is not None and not self.project.isprintable():
            raise AccessRefused(
                f"{self.project!r} is no project's id: it holds a control character such as a line's end"
            )
        if self.in_the_clear and not self.insecure:
            raise InsecureEndpoint(place_of(self.endpoint))


@dataclass(frozen=True, slots=True)
class _Parts:
    scheme: str
    hostname: str
    port: int
    path: str
    user: str | None
    password: str | None


def check_endpoint(endpoint: str) -> None:
    """Raise EndpointRefused for what cannot be the address of a service."""
    _parts(endpoint)


def place_of(endpoint: str) -> str:
    """The address in the one form that logins are kept under: no user, no version, no usual port, lower case."""
    parts = _parts(endpoint)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port == _PORTS[parts.scheme] else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{_VERSIONED.sub('', parts.path)}"


def login_in(endpoint: str) -> Login | None:
    """The login that an address itself may hold (http://USER:PASSWORD@HOST)."""
    parts = _parts(endpoint)
    if not parts.user:
        return None
    return Login(unquote(parts.user), unquote(parts.password or ""))


def trust_of(cacert: Path | None) -> ssl.SSLContext:
    """Whose certificates count: the file's authorities, else the system's. Raises AccessRefused for a bad file."""
    # Heavy, and not needed to talk to this machine.
    import ssl

    try:
        return ssl.create_default_context(cafile=None if cacert is None else str(cacert))
    except ssl.SSLError as failure:
        raise AccessRefused(f"{cacert} holds no certificates in PEM form: name the file of your authority") from failure
    except OSError as failure:
        raise AccessRefused(f"the certificates of {cacert} cannot be read ({failure.strerror})") from failure


def _parts(endpoint: str) -> _Parts:
    try:
        parts = urlsplit(endpoint.rstrip("/"))
        port = parts.port
    except ValueError:
        # The port is no number, or too large a one.
        raise EndpointRefused(_shown(endpoint)) from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise EndpointRefused(_shown(endpoint))
    if "@" in parts.path:
        # A login whose password has a bare slash: its first half is no host to ask, its second no path to show.
        raise EndpointRefused(_shown(endpoint))
    return _Parts(
        parts.scheme, parts.hostname.lower(), port or _PORTS[parts.scheme], parts.path, parts.username, parts.password
    )


def _shown(endpoint: str) -> str:
    """The address as it was given, without a password that may stand in it."""
    return re.sub(r"//.*@", "//", endpoint)
