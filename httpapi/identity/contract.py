"""What the server asks about a caller, whatever answers: none here, a file of users or Keystone elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.model.caller import Caller


class Identity(Protocol):
    """Decides who is calling, from the request's headers alone.

    `describe` is shown when the server starts. `reaches_beyond_loopback` says whether callers are told apart well
    enough to listen on a network. Headers are looked up without regard to case.
    """

    @property
    def describe(self) -> str:
        """A few words such as `identity none: admin/default`."""
        ...

    @property
    def reaches_beyond_loopback(self) -> bool:
        """Whether the server may listen where other machines reach it."""
        ...

    def admit(self, headers: Mapping[str, str]) -> None:
        """Let the request in, discovery too, or raise a WireError such as HostRefused."""
        ...

    async def identify(self, headers: Mapping[str, str]) -> Caller:
        """The caller of a request that was let in; raises a WireError when nobody stands behind it."""
        ...
