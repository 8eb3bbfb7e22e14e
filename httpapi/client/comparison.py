"""What a delta push sends of a file: what differs from an image at the same place, and has not arrived yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from httpapi.client.block_names import SIZE
from httpapi.client.block_scan import runs_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from blockstore.sent_blocks import NumberRange, SentHeld
    from httpapi.client.block_names import ImageNames, Names, NamesFile
    from httpapi.client.block_scan import Geometry, Looked
    from httpapi.client.known_names import KnownNames
    from httpapi.client.other_bases import OtherBases

# How a hole is written down among the names of what was sent; no bytes are known that hash to it.
_SENT_HOLE: Final = 0xFF


class ChangedSince(Exception):
    """A block that has arrived is another one now: the upload cannot become the file, a new one can."""


class Comparison:
    """The wish of a delta push's scan, see `block_scan.Wish`; and which blocks have arrived.

    `cached` are names of the file that are known without reading it. `touched` says for each block whether it may
    differ from the base; None if all may. `others` are images that have blocks of it elsewhere.
    """

    def __init__(
        self,
        cut: Geometry,
        base: ImageNames,
        sent: NamesFile,
        *,
        cached: KnownNames | None = None,
        touched: NDArray[np.bool_] | None = None,
        others: OtherBases | None = None,
    ) -> None:
        self._others = others
        self._cut = cut
        self._base = base
        self._sent = sent
        self._cached = cached
        self._touched = touched
        self.arrived = np.zeros(cut.blocks, dtype=np.bool_)

    def known(self, first: int, count: int) -> tuple[Names, NDArray[np.bool_]] | None:
        """By the cache, or as the base has them where nothing was touched."""
        if self._cached is not None:
            return self._cached.of(first, count)
        if self._touched is None:
            return None
        known = self._base.kept(first, count, self._cut.size) & ~self._touched[first : first + count]
        # What the file has grown by is in no list of changes.
        known[max(0, self._base.header.blocks - first) :] = False
        return self._base.names(first, count), known

    def wanted(self, first: int, names: Names) -> NDArray[np.bool_]:
        """What differs and has not arrived; ChangedSince when what has arrived is not what the file has now."""
        arrived = self.arrived[first : first + len(names)].copy()
        if arrived.any():
            were = self._sent.names(first, len(names))
            if (were[arrived] != _as_sent(names[arrived])).any():
                raise ChangedSince
        return self.differing(first, names) & ~arrived

    def elsewhere(self, first: int, names: Names, which: NDArray[np.bool_]) -> list[SentHeld]:
        """Whole blocks that one of the other bases has, wherever."""
        if self._others is None or not which.any():
            return []
        whole = np.arange(first, first + len(names)) < self._cut.size // self._cut.block_size
        return self._others.find(first, names, which & whole)

    def settled(self, first: int, names: Names) -> bool:
        """Whether there is nothing to send."""
        return not self.wanted(first, names).any()

    def differing(self, first: int, names: Names) -> NDArray[np.bool_]:
        """What the base does not have at the same place."""
        count = len(names)
        different = (names != self._base.names(first, count)).any(axis=1)
        return np.asarray(different | ~self._base.kept(first, count, self._cut.size))

    def unchanged(self, looked: Looked) -> int:
        """Bytes of the window that are the base's."""
        same = ~self.differing(looked.first, looked.names)
        return sum(self._cut.bytes_of(looked.first + start, stop - start) for start, stop in runs_of(same))

    def note(self, first: int, names: Names, which: Iterable[NumberRange]) -> None:
        """Writes down what is about to be sent; `names` are a window's, `which` numbers in it."""
        for each in which:
            part = names[each.first - first : each.stop - first]
            self._sent.write(each.first, _as_sent(part))

    def has_arrived(self, which: Iterable[NumberRange]) -> None:
        """These are durable at the server."""
        for each in which:
            self.arrived[each.first : each.stop] = True


def _as_sent(names: Names) -> Names:
    written = names.copy()
    written[~names.any(axis=1)] = _SENT_HOLE
    assert written.shape[1] == SIZE
    return written
