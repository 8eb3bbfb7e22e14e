"""What can go wrong in the block store, as one small tree.

BlockstoreError
├── StoreFull          no space left at pack, index, manifest or journal: make space, then the same upload works
├── StoreUnavailable   the disk or the index refuses to work just now: try again, look at the log
│   └── Poisoned       an fsync failed: what that pack had not yet acknowledged is gone, its writers fail
├── Damaged            a file's bytes are not what was written: the message names the file
│   └── JournalDamaged what a delta upload had acknowledged can't be read: it is to be given up
├── Missing            a pack or manifest is gone (compacted, coalesced): look the place up again
├── GeometryBroken     a manifest inherits a block that its base cannot give: refused, never guessed
├── LeaseLost          this generation is not known to the collector any more: its blocks may not be journaled
├── BlockRefused       what somebody sent as a block is not that block: nothing of it is kept
│   ├── BlockConflict  the number has arrived with other bytes before
│   ├── BlockNotHeld   a block that should be held cannot be built on now: its bytes must be sent
│   └── BlocksMissing  a delta upload is committed without blocks that must be sent
└── DataRefused        the data directory must not be opened so: newer format, in use, network file system
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blockstore.sent_blocks import NumberRange


class BlockstoreError(Exception):
    """Root of the tree; `code` is the documented name that clients and logs see."""

    code: ClassVar[str] = "blockstore-error"


class StoreFull(BlockstoreError):
    """No space (or no quota) is left where the store writes."""

    code = "store-full"


class StoreUnavailable(BlockstoreError):
    """The store cannot do this now; nothing was acknowledged and nothing is half done."""

    code = "store-unavailable"


class Poisoned(StoreUnavailable):
    """A sync failed once: the pack is never synced again and its users fail cleanly."""

    code = "pack-poisoned"


class Damaged(BlockstoreError):
    """A file holds other bytes than were written; the message names the file and what to do."""

    code = "damaged"


class JournalDamaged(Damaged):
    """A session's journal has lost what was acknowledged: the upload is to be given up, and sent again."""

    code = "delta-damaged"


class Missing(BlockstoreError):
    """A file that a place named is gone: look the place up again."""

    code = "missing"


class GeometryBroken(Damaged):
    """A manifest inherits a block whose length differs in its base."""

    code = "geometry-broken"


class LeaseLost(StoreUnavailable):
    """The writer's lease is no longer held, so its blocks may already be forgotten."""

    code = "lease-lost"


class BlockRefused(BlockstoreError):
    """What came as a block is not what was said of it; `numbers` are the blocks that this is about."""

    code = "block-refused"

    def __init__(self, message: str, numbers: Sequence[NumberRange] = ()) -> None:
        super().__init__(message)
        self.numbers = numbers


class BlockConflict(BlockRefused):
    """The same number has arrived before, with other bytes."""

    code = "block-conflict"


class BlockNotHeld(BlockRefused):
    """A block that another image has cannot be built on just now; sending its bytes works."""

    code = "block-not-held"


class BlocksMissing(BlockRefused):
    """A delta upload is not complete: what is missing, or that a request was lost."""

    code = "delta-incomplete"


class DataRefused(BlockstoreError):
    """The data directory must not be opened in this way; the message says why and what to do."""

    code = "data-refused"
