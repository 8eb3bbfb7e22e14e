"""The service's way out: what others name is looked at, opened and read here, by the operator's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.model.errors import SourceChanged, SourceRefused
from catalog.stores.outgoing.names import SystemNames
from catalog.stores.outgoing.rules import Rules
from catalog.stores.outgoing.transfer import PAUSES, UNKNOWN, Part, Transfer
from catalog.stores.outgoing.way import Waits, Way

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence

    from catalog.stores.outgoing.answers import Version
    from catalog.stores.outgoing.names import Names


class Outgoing:
    """One a process; opens nothing before it is asked. Only the event loop's thread touches it."""

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        waits: Waits | None = None,
        pauses: Sequence[float] = PAUSES,
        names: Names | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`names` and `tls` are the system's where nobody says others."""
        self._waits = waits or Waits()
        self._pauses = pauses
        self._names = names or SystemNames()
        self._tls = tls
        self._way = Way(rules or Rules(), self._names, self._waits, tls)

    def refuse(self, url: str) -> None:
        """Raise AddressRefused for a URL that is never asked, as far as that is known without asking anybody."""
        self._way.rules.target(url)

    async def check(self, url: str) -> None:
        """As `refuse`, and look where the name leads now; each connection looks again. Within seconds."""
        await self._way.check(self._way.rules.target(url))

    async def open(
        self, url: str, *, limit: int | None = None, headers: Mapping[str, str] | None = None, fixed: bool = False
    ) -> Remote:
        """A whole file, its first answer there. Close it. `headers` go to the URL's own host alone.

        `fixed`: what is at this URL never changes, so a server that names no version of it is believed.

        Raises AddressRefused, SourceRefused (the server does not give it), SourceLost (it cannot be had, after several
        tries) and LimitExceeded, for a file of more than `limit` bytes.
        """
        part = Part(url, limit=limit, headers=headers, fixed=fixed)
        transfer = Transfer(self._way, part, self._pauses)
        try:
            await transfer.begin()
        except BaseException:
            transfer.close()
            raise
        return Remote(transfer)

    async def read(self, url: str, *, limit: int, headers: Mapping[str, str] | None = None) -> bytes:
        """All of a small file. Raises as `open` does."""
        transfer = Transfer(self._way, Part(url, limit=limit, headers=headers), self._pauses)
        found = bytearray()
        try:
            while piece := await transfer.next():
                found += piece
        finally:
            transfer.close()
        return bytes(found)

    def part(
        self, url: str, start: int, stop: int, version: Version = UNKNOWN, *, pauses: Sequence[float] | None = None
    ) -> Transfer:
        """Some bytes of a file, of that version; not begun. `pauses`: how patiently, () for one try."""
        return Transfer(self._way, Part(url, start, stop, version), self._pauses if pauses is None else pauses)

    async def reach(self, url: str) -> None:
        """Find out whether somebody answers at a URL, whatever the answer, by one try. Raises as `open` does."""
        transfer = self.part(url, 0, 1, pauses=())
        try:
            await transfer.begin()
        except (SourceRefused, SourceChanged):
            return
        finally:
            transfer.close()

    def beside(self, url: str) -> Outgoing:
        """A way out of its own that also asks whoever is at `url`: an address that the operator named. Close it."""
        return Outgoing(
            self._way.rules.beside(url), waits=self._waits, pauses=self._pauses, names=self._names, tls=self._tls
        )

    async def close(self) -> None:
        """Let connections go; at the end of the process."""
        await self._way.close()


class Remote:
    """An open file elsewhere, as a `catalog.ports.Source`: it comes whole, in one version, or ends with an error.

    `on_progress`, where somebody sets it, is told how many bytes came and of how many, if that is known.
    """

    def __init__(self, transfer: Transfer) -> None:
        self.on_progress: Callable[[int, int | None], None] | None = None
        self._transfer = transfer
        self._left = memoryview(b"")

    @property
    def size(self) -> int | None:
        """Its length in bytes, where the server says it beforehand."""
        return self._transfer.version.size

    @property
    def version(self) -> Version:
        """Which version of the file this is."""
        return self._transfer.version

    @property
    def received(self) -> int:
        """How many bytes came so far."""
        return self._transfer.at

    async def read_into(self, room: memoryview) -> int:
        """As `Source`; raises SourceLost (SourceChanged, SourceRefused), AddressRefused, LimitExceeded."""
        if not self._left:
            self._left = memoryview(await self._transfer.next())
        taken = min(len(room), len(self._left))
        room[:taken] = self._left[:taken]
        self._left = self._left[taken:]
        if taken and self.on_progress is not None:
            self.on_progress(self._transfer.at, self.size)
        return taken

    def close(self) -> None:
        """Leave; may be called again."""
        self._transfer.close()
