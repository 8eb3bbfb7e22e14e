"""Delta sessions in one process's store: their journals, what arrives, and the manifest that comes of it.

A session has an image's length and block size, perhaps a base whose blocks are kept where none arrives, and a pin,
which is the catalog's. Several processes may take blocks in for it at once.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from blockstore import coalesce, session_journal
from blockstore.base_view import BaseView
from blockstore.delta_writer import DeltaWriter
from blockstore.digest import HOLE
from blockstore.errors import BlocksMissing, DataRefused
from blockstore.journal import path_of
from blockstore.manifest_builder import ManifestBuilder
from blockstore.sent_blocks import NumberRange
from blockstore.session_journal import SessionJournal
from chunker.cutting import CutKind, Cutting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from blockstore.manifest_builder import BuiltManifest
    from blockstore.store import BlockStore
    from blockstore.unnamed import Hold

TRIES: Final = 3
"""Times that a manifest is built again because blocks arrived meanwhile."""
KEPT: Final = 8
KEPT_BYTES: Final = 64 << 20
"""Journals whose contents a process remembers beside those in use, and their bytes; others are read again."""


@dataclass(frozen=True, slots=True)
class Session:
    """A delta session: the pin's name (32 hex digits), the image's length and block size in bytes.

    `acknowledged` are the records of its journal that somebody was told of: with fewer it is damaged.
    """

    pin: str
    size: int
    block_size: int
    acknowledged: int

    @property
    def blocks(self) -> int:
        """How many blocks the image has."""
        return -(-self.size // self.block_size)

    @property
    def cutting(self) -> Cutting:
        """How the image is cut; CuttingRefused if no image is cut so."""
        return Cutting(CutKind.FIXED, self.block_size)

    def length_of(self, number: int) -> int:
        """How many bytes a block has."""
        return min(self.block_size, self.size - number * self.block_size)


@dataclass(frozen=True, slots=True)
class BuiltDelta:
    """What a session became: `changed` bytes of the image are in data blocks that arrived.

    `inherited` counts the blocks that are the base's, or that nobody sent and that are zeros.
    """

    manifest: BuiltManifest
    changed: int
    arrived: int
    inherited: int


class DeltaStore:
    """The sessions of one open store; safe on several threads."""

    def __init__(self, store: BlockStore, journals: Path, manifests: Path, store_id: bytes) -> None:
        self._store = store
        self._journals = journals
        self._manifests = manifests
        self._store_id = store_id
        self._lock = threading.Lock()
        self._known: OrderedDict[str, SessionJournal] = OrderedDict()
        # All that anybody has: a session in use is never in memory twice, forgotten or not.
        self._in_use: WeakValueDictionary[str, SessionJournal] = WeakValueDictionary()

    def create(self, session: Session) -> Hold:
        """Make the session's journal, durable; before its pin, whose transaction the hold must outlive."""
        return session_journal.create(
            path_of(self._journals, session.pin), self._store_id, session.pin, self._store.disk
        )

    def journal(self, session: Session) -> SessionJournal:
        """The session's journal, whose contents are read when they are asked for."""
        with self._lock:
            found = self._in_use.get(session.pin)
            if found is None:
                path = path_of(self._journals, session.pin)
                found = SessionJournal(path, session.blocks, self._store.disk, acknowledged=session.acknowledged)
                self._in_use[session.pin] = found
            # Requests end in any order.
            found.acknowledged = max(found.acknowledged, session.acknowledged)
            self._known[session.pin] = found
            self._known.move_to_end(session.pin)
            while len(self._known) > 1 and (
                len(self._known) > KEPT or sum(each.taken for each in self._known.values()) > KEPT_BYTES
            ):
                self._known.popitem(last=False)
            return found

    def forget(self, pin: str) -> None:
        """The session has ended: keep nothing of it in memory."""
        with self._lock:
            self._known.pop(pin, None)

    def writer(self, session: Session) -> DeltaWriter:
        """For one request's blocks."""
        return DeltaWriter(self._store.crossing, self.journal(session))

    def build(self, session: Session, base: Sequence[tuple[str, bytes]], *, expected: int | None) -> Future[BuiltDelta]:
        """Make the manifest of what has arrived by now, durable, over the chain `base` if there is one.

        BlocksMissing when blocks must be sent that were not, or when others than `expected` have arrived. A leaf is in
        memory at a time. It runs on the threads that mostly wait for the disk.
        """
        return self._store.sync(lambda: self._build(session, base, expected))

    def _build(self, session: Session, base: Sequence[tuple[str, bytes]], expected: int | None) -> BuiltDelta:
        for _ in range(TRIES):
            built = self._build_once(session, base, expected)
            if built is not None:
                return built
        raise BlocksMissing("Blocks keep arriving: wait for the answers to all requests, then commit again.")

    def _build_once(
        self, session: Session, base: Sequence[tuple[str, bytes]], expected: int | None
    ) -> BuiltDelta | None:
        """None when more arrived meanwhile: it may have some of that, which nobody has counted."""
        journal = self.journal(session)
        arrived = journal.count()
        if expected is not None and arrived != expected:
            raise BlocksMissing(
                f"{arrived} blocks have arrived, not {expected}: ask what has arrived, and send the others."
            )
        with self._based(session, base) as view:
            _check_complete(session, journal, view)
            builder = ManifestBuilder(
                self._manifests, self._store_id, session.cutting, view.chain[0] if view else None, self._store.disk
            )
            try:
                for first, names in journal.leaves():
                    self._add(builder, first, names)
                if journal.count() != arrived:
                    builder.abandon()
                    return None
                built = builder.finish(session.size)
            except BaseException:
                builder.abandon()
                raise
            changed = built.listed
            if view is not None and built.depth > coalesce.DEEPEST:
                built = self._store.flattener(view.chain)(built)
        return BuiltDelta(built, changed, arrived, session.blocks - arrived)

    def _add(self, builder: ManifestBuilder, first: int, names: Sequence[bytes | None]) -> None:
        absent = frozenset(at for at, name in enumerate(names) if name is None)
        digests = [HOLE if name is None else name for name in names]
        data = [name for name in dict.fromkeys(digests) if name != HOLE]
        found = zip(data, self._store.index.get_many(data, hidden=True), strict=True)
        places = {name: place for name, place in found if place is not None}
        builder.add(first, digests, absent, (), places)

    @contextlib.contextmanager
    def _based(self, session: Session, base: Sequence[tuple[str, bytes]]) -> Iterator[BaseView | None]:
        if not base:
            yield None
            return
        view = BaseView(self._store.chain(base))
        try:
            if view.chain[0].header.cutting != session.cutting:
                raise DataRefused(f"session {session.pin} and its base have other block sizes")
            yield view
        finally:
            view.close()


def _check_complete(session: Session, journal: SessionJournal, base: BaseView | None) -> None:
    """Refuse a session without a block that it has and the base has too, but with another length."""
    size, shorter = session.size, min(session.size, base.chain[0].header.size) if base else 0
    if base is None or not shorter or size == base.chain[0].header.size:
        return
    last = (shorter - 1) // session.block_size
    theirs = min(session.block_size, base.chain[0].header.size - last * session.block_size)
    if theirs != session.length_of(last) and not journal.has(last):
        raise BlocksMissing(
            f"Block {last} must be sent: it has {session.length_of(last)} bytes here and {theirs} in the base.",
            [NumberRange(last, 1)],
        )
