"""A piece of a real image, whole and cut into equal parts: one upload, or as many at once, of the very same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - the dataclass's own field
from typing import TYPE_CHECKING

from bench.images import MIB, REAL, SMALL, real_pair

if TYPE_CHECKING:
    from bench.show.registry import Room

STREAMS = 4
_LONG = 512 * MIB


@dataclass(frozen=True, slots=True)
class Parts:
    """`whole` is a file of the bytes of all the `parts`, in their order."""

    whole: Path
    parts: tuple[Path, ...]

    def images(self, streams: int) -> tuple[Path, ...]:
        """The whole image, or its parts."""
        return (self.whole,) if streams == 1 else self.parts


def parts_for(room: Room) -> Parts:
    """512 MiB of the real image in four parts, kept beside it; the small image in the short form."""
    pair = real_pair(room.images, SMALL if room.short else REAL)
    return cut(pair.v1, pair.v1.parent, min(_LONG, pair.size))


def cut(image: Path, home: Path, size: int, count: int = STREAMS) -> Parts:
    """The first `size` bytes of an image and their `count` equal parts, as files in `home`; made once."""
    whole = home / f"first-{size // MIB}M.img"
    parts = tuple(home / f"first-{size // MIB}M-{number}.img" for number in range(count))
    if not all(path.exists() for path in (whole, *parts)):
        with image.open("rb") as source:
            for part in parts:
                _copy(source.read(size // count), part)
        _copy(b"".join(part.read_bytes() for part in parts), whole)
    return Parts(whole, parts)


def _copy(data: bytes, path: Path) -> None:
    making = path.with_suffix(".making")
    making.write_bytes(data)
    making.rename(path)
