"""Taps: what sees every byte of an image in order, beside its way into blocks. Each runs in a lane of its own."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Tap(Protocol):
    """Sees the stream piece by piece; an error that it raises ends the upload."""

    @property
    def name(self) -> str:
        """What its result is called."""

    def update(self, data: Buffer) -> None:
        """The next bytes; they may not be kept."""

    def result(self) -> str:
        """What it found, after the last byte."""


class HashTap:
    """A hash of the whole image by one of hashlib's algorithms, as hex."""

    def __init__(self, algorithm: str) -> None:
        self.name = algorithm
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    def update(self, data: Buffer) -> None:
        """Hash on; frees the GIL from 2 KiB on."""
        self._hash.update(data)

    def result(self) -> str:
        """The hex digest."""
        return self._hash.hexdigest()
