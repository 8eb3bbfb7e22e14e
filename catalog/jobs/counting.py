"""How far a job's reading is, for its task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from catalog.jobs.context import JobContext
    from catalog.store_ports import CopyReader

_MIB: Final = 1 << 20


class Counted:
    """`catalog.store_ports.CopyReader`: another one, whose pieces are reported as they pass."""

    def __init__(self, context: JobContext, reader: CopyReader, verb: str = "Copied") -> None:
        self._context = context
        self._reader = reader
        self._verb = verb

    @property
    def size(self) -> int:
        """The other one's."""
        return self._reader.size

    async def read(self, start: int, stop: int) -> AsyncGenerator[bytes | memoryview, None]:
        """The other one's pieces."""
        done = start
        async for piece in self._reader.read(start, stop):
            length = len(piece)
            yield piece
            done += length
            message = f"{self._verb} {_mib(done)} of {_mib(self.size)} MiB."
            self._context.report(done, self.size, message)

    def close(self) -> None:
        """Close the other one."""
        self._reader.close()


def report_copied(context: JobContext, done: int, size: int | None) -> None:
    """So many bytes came from elsewhere, of how many, if that is known."""
    of = "" if size is None else f" of {_mib(size)}"
    context.report(done if size else 0, size or 1, f"Copied {_mib(done)}{of} MiB.")


def report_stored(context: JobContext, done: int, size: int) -> None:
    """So many bytes of what was made are stored."""
    context.report(done, size, f"Stored {_mib(done)} of {_mib(size)} MiB.")


def _mib(size: int) -> int:
    return -(-size // _MIB)
