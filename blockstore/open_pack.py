"""The one pack that a process is appending to, and those that are full but not sealed yet."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from blockstore import clock
from blockstore.errors import BlockstoreError
from blockstore.names import new_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blockstore.block import Frame, Place
    from blockstore.index.contract import BlockIndex
    from blockstore.index.writer import IndexWriter
    from blockstore.packs.local import LocalPacks, PackWriter

log = logging.getLogger(__name__)
FULL: Final = 64 * 1024 * 1024
IDLE: Final = 600.0
"""Seconds without an append after which a pack is sealed as it is."""


class OpenPack:
    """Appends go here, one caller at a time; the register is written before a new pack's first byte."""

    def __init__(
        self, packs: LocalPacks, index: BlockIndex, writer: IndexWriter, owner: str, *, full: int = FULL
    ) -> None:
        self._packs = packs
        self._index = index
        self._writer = writer
        self._owner = owner
        self._size = full
        self._current: PackWriter | None = None
        self._full: list[PackWriter] = []
        self._used = 0.0

    def append(self, entries: Sequence[Frame]) -> tuple[list[Place], PackWriter]:
        """Write entries into the open pack (a new one if it is full or poisoned); gives their places and the pack."""
        if self._current is not None and (self._current.size >= self._size or self._current.poisoned):
            self.roll()
        if self._current is None:
            self._current = self._begin()
        self._used = clock.monotonic()
        return self._current.append(entries), self._current

    def roll(self) -> None:
        """Append no more to the open pack."""
        if self._current is not None:
            self._full.append(self._current)
            self._current = None

    def full(self) -> list[PackWriter]:
        """The packs that wait to be sealed. A poisoned one never is: it stays open, and its sync goes on failing."""
        return [pack for pack in self._full if not pack.poisoned]

    def sealed(self, pack: PackWriter) -> None:
        """The register knows that the pack is sealed."""
        self._full.remove(pack)
        pack.close()

    def close(self) -> None:
        """Let go of what could not be sealed; the next start adopts it."""
        self.roll()
        for pack in self._full:
            pack.close()
        self._full.clear()

    def is_idle(self) -> bool:
        """Whether the open pack has had no append for IDLE seconds."""
        return self._current is not None and clock.monotonic() - self._used > IDLE

    def _begin(self) -> PackWriter:
        name = new_name()
        number = self._writer.run(lambda: self._index.register_pack(name, self._owner))
        try:
            return self._packs.create(number, name)
        except BlockstoreError:
            self._forget(number)
            raise

    def _forget(self, number: int) -> None:
        try:
            self._writer.run(lambda: self._index.drop_pack(number))
        except BlockstoreError as error:
            log.warning("pack %d stays in the register without a file until the next start: %s", number, error)
