"""Chooses real files of this machine for a disk image: a fair sample of /usr, the same at every call."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# /usr comes first; the others only where it is too small, as in a container.
ROOTS = (Path("/usr"), Path(sys.base_prefix), Path(sys.prefix), Path("/opt"), Path("/var/lib"))
FS_BLOCK = 4096
_PLAIN = re.compile(r"[A-Za-z0-9._+/-]+")  # debugfs reads its commands by words
_PIECE = 3000


@dataclass(frozen=True, slots=True)
class Source:
    """A file of this machine and its place in the image."""

    path: Path
    target: str
    size: int

    @property
    def room(self) -> int:
        """Bytes it takes in the file system."""
        return -(-self.size // FS_BLOCK) * FS_BLOCK


def sample(roots: Iterable[Path] = ROOTS) -> list[Source]:
    """Regular, readable files, ordered by the hash of their paths.

    So any first part of the list is a fair mix of programs, libraries, texts and data, whatever the order of
    directories. A root's files stand after those of the roots before it.
    """
    seen: set[tuple[int, int]] = set()
    found: list[Source] = []
    for root in roots:
        mine = [source for source, inode in _walk(root) if inode not in seen and not seen.add(inode)]  # type: ignore[func-returns-value]  # a set's add is a condition here
        found += sorted(mine, key=lambda source: hashlib.blake2b(source.target.encode()).digest())
    return found


def take(sources: Iterator[Source], budget: int, most: int = 1 << 62) -> list[Source]:
    """The next sources that fill `budget` bytes of a file system, but no more than `most` of them.

    Those of more than a sixteenth of the budget are passed over, so that it is not spent on a few files.
    """
    taken: list[Source] = []
    longest = max(FS_BLOCK, budget // 16)
    while budget > 0 and len(taken) < most and (source := next(sources, None)):
        if source.room <= longest:
            taken.append(source)
            budget -= source.room
    return taken


def stage(sources: Iterable[Source], tree: Path) -> None:
    """Copies the sources into a tree. Copies, never hard links: no slip here may reach the machine's own files."""
    for source in sources:
        target = tree / source.target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source.path, target)
        target.chmod(0o644 | stat.S_IMODE(target.stat().st_mode))


def fill(sources: list[Source], tree: Path, budget: int) -> None:
    """Makes up for a machine with too few files: adds files of shuffled pieces of real ones, none like another."""
    number = 0
    while budget > 0:
        dice = random.Random(number)
        data = b"".join(source.path.read_bytes() for source in dice.sample(sources, min(40, len(sources))))
        pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
        dice.shuffle(pieces)
        made = b"".join(pieces)[: max(budget, FS_BLOCK)]
        target = tree / f"var/made/{number:05}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(made)
        budget -= Source(target, target.name, len(made)).room
        number += 1


def _walk(root: Path) -> Iterator[tuple[Source, tuple[int, int]]]:
    for directory, names, files in os.walk(root):
        names.sort()
        for name in files:
            path = Path(directory, name)
            target = str(path).lstrip("/")
            facts = path.lstat()
            fits = stat.S_ISREG(facts.st_mode) and facts.st_size > 0
            if fits and _PLAIN.fullmatch(target) and os.access(path, os.R_OK):
                yield Source(path, target, facts.st_size), (facts.st_dev, facts.st_ino)
