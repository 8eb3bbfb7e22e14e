"""What every image must be, as those know it who made it: the SHA-256 of its bytes, and whether it must be there."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


_EXPLAINED: Final = re.compile(
    r"Connection refused|Couldn't connect|reset by peer|Broken pipe|Connection aborted|Empty reply|closed connection|"
    r"transfer closed|the connection broke|timed out|exit code -9|being (collected|scrubbed) already|waited N s in vain"
)
"""What is told by clients of a server that is gone or stands still, and of a verb that was killed, or for which another
one waits that stands still."""


@dataclass(slots=True)
class Oracle:
    """Shared by all clients; each image is made, read and deleted by one of them alone, so its state is certain."""

    expected: dict[str, str] = field(default_factory=dict)  # whatever becomes of the image, these are its bytes
    held: set[str] = field(default_factory=set)  # acknowledged, and nobody has asked to delete it
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, image: str, digest: str) -> None:
        """Before its upload begins."""
        with self._lock:
            self.expected[image] = digest

    def hold(self, image: str) -> None:
        """It was acknowledged, or seen active."""
        with self._lock:
            self.held.add(image)

    def drop(self, image: str) -> None:
        """Before it is asked to be deleted: from now on it may be gone."""
        with self._lock:
            self.held.discard(image)

    def saw(self, image: str, digest: str, how: str) -> None:
        """These bytes came, all of them."""
        if digest != self.expected[image]:
            with self._lock:
                self.wrong.append(f"{image} by {how}")

    def missed(self, image: str, why: str) -> None:
        """It must be there, and is not."""
        with self._lock:
            self.lost.append(f"{image}: {why}")


@dataclass(slots=True)
class Tally:
    """How often each operation came to its end, and what stopped it otherwise."""

    done: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    unexplained: Counter[str] = field(default_factory=Counter)  # what neither a kill nor a freeze explains
    work: dict[str, Counter[str]] = field(default_factory=dict)  # of each verb, what its runs say that they did
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fewest(self, names: Iterable[str]) -> int:
        """How often that of them was done which was done least."""
        with self._lock:
            return min(self.done[name] for name in names)

    def ended(self, name: str, error: str = "") -> None:
        with self._lock:
            if error:
                self.cut[name] += 1
                self.why[f"{name}: {error}"] += 1
                if not is_explained(error):
                    self.unexplained[f"{name}: {error}"] += 1
            else:
                self.done[name] += 1

    def did(self, name: str, work: Mapping[str, int]) -> None:
        """So much was done by a run that came to its end."""
        with self._lock:
            self.work.setdefault(name, Counter()).update(work)


def is_explained(error: str) -> bool:
    """Whether it is what a kill or a freeze leads to."""
    return _EXPLAINED.search(error) is not None


def digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
