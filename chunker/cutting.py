"""How an image is cut, as a value: blocks of one size, or content-defined ones of an average size.

As text `fixed:64KiB` or `content-defined:64KiB`; without a size it is the kind's usual one, and a size alone means
fixed blocks. This text is what people write, in an option or an image's property.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chunker import content_defined, fixed
from chunker.content_defined import ContentDefinedCutter
from chunker.fixed import FixedCutter

if TYPE_CHECKING:
    from chunker.cutter import Cutter

_UNITS: Final = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20}
_SIZE: Final = re.compile(r"([0-9]{1,9}) ?([a-z]*)", re.ASCII | re.IGNORECASE)

CHOICES: Final = (
    "fixed, content-defined, or either with a power of two as its size: "
    "fixed:4KiB to fixed:4MiB, content-defined:16KiB to content-defined:1MiB"
)
"""What may be written, as the end of a sentence."""


class CuttingRefused(ValueError):
    """There is no such way of cutting; the message lists what there is."""


class CutKind(enum.Enum):
    """Where blocks may end."""

    FIXED = "fixed"
    CONTENT_DEFINED = "content-defined"


@dataclass(frozen=True, slots=True)
class Cutting:
    """A kind and a size in bytes: of every block, or of the average one. CuttingRefused if there is no such."""

    kind: CutKind = CutKind.FIXED
    size: int = fixed.USUAL

    def __post_init__(self) -> None:
        try:
            self.cutter()
        except ValueError as error:
            raise CuttingRefused(str(error)) from None

    @classmethod
    def parse(cls, text: str, *, usual: int = fixed.USUAL) -> Cutting:
        """Read `64KiB`, `fixed`, `fixed:64KiB`, `content-defined`, `content-defined:128KiB`.

        `usual` is the size in bytes of `fixed` without one. Raises CuttingRefused, which lists what is possible.
        """
        word, colon, size = text.strip().lower().partition(":")
        try:
            if not colon and word[:1].isdigit():
                return cls(CutKind.FIXED, _read_size(word))
            kind = CutKind(word)
            if colon:
                return cls(kind, _read_size(size))
        except ValueError:
            raise CuttingRefused(f"{text[:80]!r} is no way of cutting: choose {CHOICES}") from None
        return cls(kind, usual if kind is CutKind.FIXED else content_defined.USUAL)

    def __str__(self) -> str:
        for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
            if self.size % unit == 0:
                return f"{self.kind.value}:{self.size // unit}{name}"
        return f"{self.kind.value}:{self.size}"

    @property
    def is_fixed(self) -> bool:
        """Whether block n begins at n · size: only such images can be increments and have them."""
        return self.kind is CutKind.FIXED

    @property
    def longest(self) -> int:
        """The longest block that it makes, in bytes."""
        return self.cutter().longest

    def cutter(self) -> Cutter:
        """A new cutter, for one stream."""
        return FixedCutter(self.size) if self.is_fixed else ContentDefinedCutter(self.size)


def _read_size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(text)
    return int(match[1]) * _UNITS[match[2].lower()]


USUAL: Final = Cutting()
"""Fixed blocks of 64 KiB: QEMU's dirty-bitmap granularity and qcow2's cluster."""
