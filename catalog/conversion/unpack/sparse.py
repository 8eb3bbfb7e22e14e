"""The new file: no longer than it may be, and with holes where its bytes are zeros."""

from __future__ import annotations

import os
from typing import Final

from catalog.conversion.unpack.packed import Refused

_BLOCK: Final = 64 * 1024
_BUFFER: Final = 1 << 20
_ZEROS: Final = bytes(_BLOCK)
_ALL_ZEROS: Final = bytes(_BUFFER)


class Sparse:
    """Takes the file's bytes in order; `close` writes the last of them and sets its length."""

    def __init__(self, descriptor: int, *, cap: int) -> None:
        self._descriptor = descriptor
        self._cap = cap
        self._buffer = bytearray()
        self._written = 0

    def write(self, piece: bytes) -> None:
        """The next bytes. Raises Refused beyond the cap, before they are written."""
        if self._written + len(self._buffer) + len(piece) > self._cap:
            raise Refused(
                f"Unpacked, the file is longer than the {self._cap} bytes that it may have here. If its disk is that "
                "long, ask who runs the service to allow it."
            )
        self._buffer += piece
        while len(self._buffer) >= _BUFFER:
            self._put(bytes(memoryview(self._buffer)[:_BUFFER]))
            del self._buffer[:_BUFFER]

    def close(self) -> int:
        """The file is whole; its length."""
        self._put(bytes(self._buffer))
        os.ftruncate(self._descriptor, self._written)
        return self._written

    def _put(self, data: bytes) -> None:
        if data != _ALL_ZEROS:
            view, begins = memoryview(data), 0
            for at in range(0, len(data), _BLOCK):
                block = data[at : at + _BLOCK]
                if block == _ZEROS[: len(block)]:
                    self._put_run(view[begins:at], begins)
                    begins = at + len(block)
            self._put_run(view[begins:], begins)
        self._written += len(data)

    def _put_run(self, run: memoryview, at: int) -> None:
        while run:
            count = os.pwrite(self._descriptor, run, self._written + at)
            run, at = run[count:], at + count
