"""What a machine does to its disk: writes, zeros and discards, scattered and unaligned, as commands of qemu-io."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

_SHORT, _LONG = 3_000, 300_000  # bytes: within a block, and over some


@dataclass(frozen=True, slots=True)
class GuestWrite:
    """One of them; offset and length in bytes."""

    verb: str
    offset: int
    length: int

    @property
    def is_discard(self) -> bool:
        return self.verb.startswith("discard")

    @property
    def command(self) -> str:
        return f"{self.verb} {self.offset} {self.length}"


def scattered(dice: random.Random, size: int, number: int) -> list[GuestWrite]:
    """So many of every kind anywhere on a disk of `size` bytes, the first one in its last bytes."""
    found = [GuestWrite(_pattern(dice), size - 700, 700)]
    for at in range(number - 1):
        verb = (_pattern(dice), _pattern(dice), "write -q -z", "write -q -z -u", "discard -q")[at % 5]
        length = dice.randrange(1, _LONG if dice.random() < 0.3 else _SHORT)
        found.append(GuestWrite(verb, dice.randrange(size - length), length))
    return found


def touched(writes: Iterable[GuestWrite], granularity: int) -> set[int]:
    """The numbers of the pieces of so many bytes that they touch."""
    return {
        piece
        for each in writes
        for piece in range(each.offset // granularity, -(-(each.offset + each.length) // granularity))
    }


def _pattern(dice: random.Random) -> str:
    return f"write -q -P {dice.randrange(1, 256)}"
