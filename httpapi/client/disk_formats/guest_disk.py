"""The disk that a guest sees in a file of another format than raw: what a push of such a file reads."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from httpapi.client.block_file import Below, BlockFile
from httpapi.client.disk_formats.chain import stamp_of
from httpapi.client.errors import SourceRefused
from httpapi.client.source import PositionedSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from httpapi.client.block_file import Stamp
    from httpapi.client.disk_formats.chain import Layer
    from httpapi.client.disk_formats.served import Served
    from httpapi.client.nbd_file import NbdFile
    from httpapi.client.report import Report


class GuestDisk:
    """As `BlockFile`, of the top file of `layers`; no program runs until it is read."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)
        self.name = layers[0].file.name
        self.format = layers[0].format
        self.size = layers[0].size
        self._turn = threading.Lock()
        self._served: Served | None = None
        self._stopped = threading.Event()

    def tell(self, report: Report) -> None:
        """What is read in place of the file's bytes, and which files that takes."""
        report.tell(
            f"{self.name} is {self.format}: its guest's {self.size} bytes are pushed, as a raw image; "
            "--as-is keeps the file's bytes"
        )
        for each in self._layers[1:]:
            report.tell(f"{self.name} lies over {each.file.name}, read as {each.format}")

    @property
    def formats(self) -> Sequence[str]:
        """Of its files."""
        return [each.format for each in self._layers]

    @property
    def files(self) -> Sequence[BlockFile]:
        """The top one first."""
        return [each.file for each in self._layers]

    def begin(self) -> None:
        """Opens it to be read: whatever is wrong with the files is found now."""
        self._read()

    def fill(self, piece: memoryview, offset: int) -> memoryview:
        """Reads all of `piece` from `offset` on."""
        try:
            return self._read().fill(piece, offset)
        except SourceRefused as failure:
            why = None if self._served is None or self._stopped.is_set() else self._served.ended()
            if why is None:
                raise
            raise SourceRefused(f"cannot read {self.name} at byte {offset}: {why}") from failure

    def next_data(self, start: int) -> tuple[int, int]:
        """As its tables have it."""
        return self._read().next_data(start)

    def end(self) -> int:
        """Its size; what becomes of the files, the stamp tells."""
        return self.size

    def stamp(self) -> Stamp | None:
        """Of all files together."""
        return stamp_of(self._layers)

    def settle(self) -> None:
        """All files."""
        for each in self.files:
            each.settle()

    def below(self) -> Sequence[Below]:
        """The disks that the lower files are by themselves."""
        return [
            Below(depth, self._layers[depth].file.name, self._layers[depth].size, stamp_of(self._layers[depth:]))
            for depth in range(1, len(self._layers))
        ]

    def above(self, depth: int) -> Iterator[tuple[int, int]]:
        """(offset, length) of what the `depth` topmost files have themselves."""
        return self._read().above(depth)

    def changed_size(self) -> str:
        """The sentence for one that did."""
        return self.changed_bytes()

    def changed_bytes(self) -> str:
        """The sentence for one that was written to."""
        return (
            f"{self.name}, or a file below it, changed while it was read: stop what writes to it, or push a running "
            "machine's disk over NBD"
        )

    def stop(self) -> None:
        """No read waits any longer, and none begins."""
        self._stopped.set()
        if (served := self._served) is not None:
            served.file.stop()

    def close(self) -> None:
        """Ends the program, closes the files."""
        self._stopped.set()
        with self._turn:
            if self._served is not None:
                self._served.close()
                self._served = None
        for each in self.files:
            each.close()

    def again(self) -> GuestDisk:
        """The same files, opened anew."""
        return GuestDisk([replace(each, file=_opened_again(each.file)) for each in self._layers])

    def _read(self) -> NbdFile:
        # Heavy, and of no use to the push of what is known to be unchanged.
        from httpapi.client.disk_formats.served import Served, check_whole

        with self._turn:
            if self._served is None:
                if self._stopped.is_set():
                    raise SourceRefused(f"{self.name} is not read any more")
                check_whole(self._layers, self._stopped.is_set)
                self._served = Served(self._layers, self.name)
                if self._stopped.is_set():
                    self._served.file.stop()
            return self._served.file


class GuestSource(PositionedSource):
    """A guest's disk, from beginning to end."""

    def __init__(self, disk: GuestDisk) -> None:
        super().__init__(disk, live=False)
        self.disk = disk

    def again(self) -> GuestSource | None:
        """The same files, read by a program of its own."""
        return GuestSource(self.disk.again())


def _opened_again(file: BlockFile) -> BlockFile:
    return BlockFile(os.open(f"/proc/self/fd/{file.descriptor}", os.O_RDONLY | os.O_CLOEXEC), file.name)
