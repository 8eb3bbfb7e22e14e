"""An NBD export that counts what is read of it."""

from __future__ import annotations

import threading

from httpapi.client.nbd_file import NbdFile


class CountedExport(NbdFile):
    """`read` are the bytes so far."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.read = 0
        self._counting = threading.Lock()

    def fill(self, piece: memoryview, offset: int) -> memoryview:
        """As NbdFile does."""
        found = super().fill(piece, offset)
        with self._counting:
            self.read += len(piece)
        return found
