"""How an inspection asks for what it wants to see, and what it comes to.

An inspection is a generator: it yields a question, is sent the bytes, and returns a Finding. So the same one looks at a
stream that goes by (`watching.py`) and at an image that is stored, and neither has to give it more than it asks for.
What is asked for is bounded, in number and in bytes, whatever the bytes say. Where the image ends earlier, zeros
follow, as for whoever opens it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` on; a stream gives those that have gone by as zeros."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Tail:
    """The last bytes; at most `LONGEST_TAIL`."""

    length: int


@dataclass(frozen=True, slots=True)
class Judges:
    """That the judges of formats be loaded, which takes half a second once; the answer is empty."""


Question: TypeAlias = Span | Tail | Judges

LONGEST_TAIL = 1536


@dataclass(frozen=True, slots=True)
class Finding:
    """What an image's bytes are.

    `content` is the format's name: `raw` where none is known, `gpt` for a disk with a boot sector. `danger` says why
    nobody should open it, if so. `declared` is the size of the disk that its header tells, in bytes; where none does,
    the disk is all that follows the first `header` bytes, None if they are not known.
    """

    content: str
    danger: str | None = None
    declared: int | None = None
    header: int | None = 0

    def disk_size(self, size: int) -> int | None:
        """The bytes of the disk in an image of `size` bytes; None if they are not known."""
        if self.declared is not None:
            return self.declared
        return size - self.header if self.header is not None and 0 <= self.header <= size else None


Inspection: TypeAlias = Generator[Question, bytes, Finding]
