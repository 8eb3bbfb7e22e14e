"""How often this process reads packs: each read of a run of bytes, and each call that sends one to a socket."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(slots=True)
class PackReads:
    """Reads of packs so far, and the bytes that they asked for."""

    count: int = 0
    size: int = 0

    def per_gib(self, size: int) -> float:
        """Reads for each GiB of an image of `size` bytes that were read meanwhile."""
        return self.count * (1 << 30) / size


@contextlib.contextmanager
def counted_reads() -> Iterator[PackReads]:
    """Count preads, preadvs and sendfiles of packs on all threads of this process, while it lasts."""
    reads = PackReads()
    real = {name: getattr(os, name) for name in ("pread", "preadv", "sendfile")}

    def counting(name: str, descriptor: int, size: Callable[..., int]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if Path(f"/proc/self/fd/{arguments[descriptor]}").readlink().name.partition(" ")[0].endswith(".zst"):
                reads.count += 1
                reads.size += size(*arguments)
            return real[name](*arguments)

        return call

    try:
        os.pread = counting("pread", 0, lambda _fd, size, _at: size)
        os.preadv = counting("preadv", 0, lambda _fd, rooms, _at: sum(map(len, rooms)))
        os.sendfile = counting("sendfile", 1, lambda _to, _fd, _at, size: size)
        yield reads
    finally:
        for name, call in real.items():
            setattr(os, name, call)
