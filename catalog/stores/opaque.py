"""URLs that others register, such as `rbd://` and `cinder://`: kept and shown, never read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from catalog.model.errors import StoreDown, StoreReadOnly

if TYPE_CHECKING:
    from collections.abc import Collection

    from catalog.store_ports import CopyReader, StoreInfo


class OpaqueStore:
    """`catalog.store_ports.Store` of URLs with these schemes, each without its colon and in small letters."""

    def __init__(self, info: StoreInfo, schemes: Collection[str]) -> None:
        self.info = info
        self._schemes = frozenset(schemes)

    def owns(self, url: str) -> bool:
        """By its scheme."""
        scheme, there, rest = url.partition("://")
        return bool(there) and scheme.lower() in self._schemes and rest.isprintable()

    def place(self, image_id: str) -> str:
        """Nothing is written there."""
        self._refuse()

    async def open(self, url: str, size: int | None) -> CopyReader:
        """Nothing is read from there."""
        raise StoreDown(f"What lies in store {self.info.name} is known to others, and not read by this service.")

    async def write(self, url: str, source: CopyReader) -> None:
        """Nothing is written there."""
        self._refuse()

    async def remove(self, url: str) -> None:
        """Whoever registered a URL has what lies there: letting the location go is all there is to do."""

    async def check(self) -> None:
        """There is nobody to ask."""

    def path(self, url: str) -> str | None:
        """No file of this machine."""
        return None

    async def close(self) -> None:
        """Nothing is held."""

    def _refuse(self) -> NoReturn:
        raise StoreReadOnly(f"Store {self.info.name} keeps what others register, and nothing can be written to it.")
