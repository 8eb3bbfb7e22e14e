"""What the server asks about a caller, whatever answers: nobody, a file of users, or Keystone.

A request that may come in at all (`admit`) and needs a caller (`identify`) is turned into one, or into a 401 that says
in `WWW-Authenticate` what would be taken. An identity sees the value `Arrival` and nothing else of a request: neither
its body, which is read only for a known caller, nor the library that parsed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.model.caller import Caller


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as an identity sees it.

    `headers` are looked up without regard to case. `peer` is the client's address without a port, the one that
    trusted proxies told where they stand in between, and never a header that anybody may write; `-` if unknown.
    `base_url` is what the client called: scheme, host, perhaps a path. `target` is the path as it was sent.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    peer: str
    base_url: str


class Identity(Protocol):
    """Decides who is calling.

    `describe` is shown when the server starts. `reaches_beyond_loopback` says whether callers are told apart well
    enough to listen on a network; `takes_passwords` whether they then need TLS, because each request carries a secret
    that can be used again.
    """

    @property
    def describe(self) -> str:
        """A few words such as `identity none: admin/default`."""
        ...

    @property
    def reaches_beyond_loopback(self) -> bool:
        """Whether the server may listen where other machines reach it."""
        ...

    @property
    def takes_passwords(self) -> bool:
        """Whether requests carry what nobody else on the network may read."""
        ...

    def admit(self, arrival: Arrival) -> None:
        """Let the request in, discovery too, or raise a WireError such as HostRefused. Never waits."""
        ...

    async def identify(self, arrival: Arrival) -> Caller:
        """The caller of a request that was let in.

        Raises Unauthenticated (401) when nobody stands behind it, TooManyLogins (429) when it was tried too often,
        another WireError when it cannot be decided now. Nothing that it raises or logs holds a secret.
        """
        ...


@runtime_checkable
class Distant(Protocol):
    """What an identity has besides when it asks another service, which can fail while this one is well."""

    @property
    def trouble(self) -> str:
        """Why that service could not be asked the last time, for the log and the operator; empty when it could."""
        ...

    async def check(self) -> None:
        """Ask it something; raises IdentityUnavailable, and `trouble` then says why."""
        ...

    async def close(self) -> None:
        """Leave it, when the server ends."""
        ...
