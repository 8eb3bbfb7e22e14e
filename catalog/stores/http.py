"""Images at http and https URLs that others look after: read there by ranges, never written nor removed.

All requests go by the rules of requests that leave. A location whose bytes are of another size, or of another version
than when it was opened, is lost: what is served must be what was registered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import unquote

from catalog.model.errors import (
    AddressRefused,
    CopyLost,
    LimitExceeded,
    SourceChanged,
    SourceLost,
    SourceRefused,
    StoreDown,
    StoreReadOnly,
)
from catalog.stores.outgoing.urls import read_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from catalog.store_ports import CopyReader, StoreInfo
    from catalog.stores.outgoing.answers import Version
    from catalog.stores.outgoing.outgoing import Outgoing

_PIECE: Final = 1 << 20
# One more try at the same place, then another place may have the bytes sooner.
_PAUSES: Final = (0.2,)
_FAILURES: Final = (SourceLost, AddressRefused, LimitExceeded)


class HttpStore:
    """`catalog.store_ports.Store` of http and https URLs, those below `url_prefix` alone where there is one."""

    def __init__(self, info: StoreInfo, outgoing: Outgoing, *, url_prefix: str | None = None) -> None:
        self.info = info
        self._outgoing = outgoing
        self._prefix = None if url_prefix is None else url_prefix.rstrip("/")

    def owns(self, url: str) -> bool:
        """Whether it can be read as such a URL, below the prefix. Whether it may be asked, the rules say."""
        try:
            target = read_url(url)
        except AddressRefused:
            return False
        if self._prefix is None:
            return True
        prefix = read_url(self._prefix)
        below = target.path.startswith(prefix.path.rstrip("/") + "/")
        return below and target.origin == prefix.origin and ".." not in unquote(target.path).split("/")

    def place(self, image_id: str) -> str:
        """Nothing is written there."""
        self._refuse()

    async def open(self, url: str, size: int | None) -> CopyReader:
        """Ask for the first byte: that tells the size, the version, and whether it is there at all."""
        probe = self._outgoing.part(url, 0, 1, pauses=())
        try:
            await probe.begin()
        except _FAILURES as error:
            raise self._failed(error) from error
        finally:
            probe.close()
        found = probe.version
        if found.size is None:
            raise StoreDown(f"Store {self.info.name}: the server does not say how long the file at a URL is.")
        if size is not None and found.size != size:
            raise CopyLost(f"Store {self.info.name}: the file at a URL has {found.size} bytes and should have {size}.")
        return _HttpCopy(self, url, found, found.size)

    async def write(self, url: str, source: CopyReader) -> None:
        """Nothing is written there."""
        self._refuse()

    async def remove(self, url: str) -> None:
        """Whoever has the file keeps it: letting the location go is all there is to do."""

    async def check(self) -> None:
        """Whether somebody answers at the prefix; without one there is nobody to ask."""
        if self._prefix is None:
            return
        try:
            await self._outgoing.reach(self._prefix)
        except _FAILURES as error:
            raise StoreDown(f"Store {self.info.name}: {error}") from error

    def path(self, url: str) -> str | None:
        """No file of this machine."""
        return None

    async def close(self) -> None:
        """Let connections go."""
        await self._outgoing.close()

    async def pieces(self, url: str, version: Version, start: int, stop: int) -> AsyncIterator[memoryview]:
        """Some bytes of a file, in small pieces."""
        transfer = self._outgoing.part(url, start, stop, version, pauses=_PAUSES)
        try:
            while piece := memoryview(await transfer.next()):
                for at in range(0, len(piece), _PIECE):
                    yield piece[at : at + _PIECE]
        except _FAILURES as error:
            raise self._failed(error) from error
        finally:
            transfer.close()

    def _failed(self, error: Exception) -> StoreDown | CopyLost:
        """What it means for a location that its URL gave this error."""
        lost = isinstance(error, SourceChanged) or (isinstance(error, SourceRefused) and error.absent)
        return (CopyLost if lost else StoreDown)(f"Store {self.info.name}: {error}")

    def _refuse(self) -> NoReturn:
        raise StoreReadOnly(f"Store {self.info.name} only reads what others serve, and nothing can be written to it.")


class _HttpCopy:
    """`catalog.store_ports.CopyReader` of one version of a file."""

    def __init__(self, store: HttpStore, url: str, version: Version, size: int) -> None:
        self.size = size
        self._store = store
        self._url = url
        self._version = version

    def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """By a request of its own."""
        return self._store.pieces(self._url, self._version, start, stop)

    def close(self) -> None:
        """Each read lets its own connection go."""
