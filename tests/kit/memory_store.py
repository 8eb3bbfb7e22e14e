"""The port `Store` in memory, with switches for what a real one can do to its users."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from catalog.model.errors import CopyLost, StoreDown, StoreFull, StoreReadOnly
from catalog.store_ports import StoreInfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from catalog.store_ports import CopyReader

_PIECE = 1 << 16


class MemoryStore:
    """Keeps copies by URL, `memory://NAME/IMAGE/RANDOM`.

    `down`: nothing can be done; `full`: nothing can be written; `breaks_at`: reading stops there, with StoreDown;
    `lose`, and `copies` itself: what is there. `opened` and `checks` count; `paths` are what `path` tells.
    """

    def __init__(
        self,
        name: str = "memory",
        *,
        weight: int = 0,
        kind: str = "file",
        default: bool = False,
        volatile: bool = False,
        read_only: bool = False,
        description: str | None = None,
    ) -> None:
        self.info = StoreInfo(
            name,
            kind,
            description=description,
            weight=weight,
            read_only=read_only,
            default=default,
            volatile=volatile,
            properties={"room": "memory"},
        )
        self.copies: dict[str, bytes] = {}
        self.paths: dict[str, str] = {}
        self.down = False
        self.full = False
        self.breaks_at: int | None = None
        self.opened = 0
        self.checks = 0
        self.is_closed = False

    def lose(self) -> None:
        """All copies are gone, and the store is there."""
        self.copies.clear()

    def owns(self, url: str) -> bool:
        return url.startswith(f"memory://{self.info.name}/") and url.isprintable()

    def place(self, image_id: str) -> str:
        if self.info.read_only:
            raise StoreReadOnly(f"Store {self.info.name} is only read.")
        return f"memory://{self.info.name}/{image_id}/{secrets.token_hex(8)}"

    async def open(self, url: str, size: int | None) -> CopyReader:
        self._reach()
        self.opened += 1
        data = self.copies.get(url)
        if data is None or size not in {None, len(data)}:
            raise CopyLost(f"Store {self.info.name} has no such copy any more.")
        return _MemoryCopy(self, data)

    async def write(self, url: str, source: CopyReader) -> None:
        if self.info.read_only:
            raise StoreReadOnly(f"Store {self.info.name} is only read.")
        self.copies.pop(url, None)
        taken = bytearray()
        self._reach()
        async for piece in source.read(0, source.size):
            self._reach()
            if self.full:
                raise StoreFull(f"Store {self.info.name} is full.")
            taken += piece
        self._reach()
        self.copies[url] = bytes(taken)

    async def remove(self, url: str) -> None:
        self._reach()
        self.copies.pop(url, None)

    async def check(self) -> None:
        self.checks += 1
        self._reach()

    def path(self, url: str) -> str | None:
        return self.paths.get(url)

    async def close(self) -> None:
        self.is_closed = True

    def _reach(self) -> None:
        if self.down:
            raise StoreDown(f"Store {self.info.name} is down.")


class _MemoryCopy:
    def __init__(self, store: MemoryStore, data: bytes) -> None:
        self._store = store
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        at = start
        while at < stop:
            end = min(at + _PIECE, stop)
            breaks_at = self._store.breaks_at
            if breaks_at is not None:
                end = min(end, max(breaks_at, at))
            if self._store.down or end == at:
                raise StoreDown(f"Store {self._store.info.name} broke off.")
            yield self._data[at:end]
            at = end

    def close(self) -> None:
        """Nothing is held."""
