"""What holds blocks, as whoever keeps the records says: live manifests and live pins. All else is garbage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from blockstore import manifest_builder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ManifestRoot:
    """A live manifest: its file's name, and what the file must say. `base` is the name of the one below it."""

    name: str
    digest: bytes
    base: str | None
    depth: int
    size: int


@dataclass(frozen=True, slots=True)
class PinRoot:
    """A live pin: how many records of its journal were acknowledged, and whose upload it is, in words for messages.

    `only_grows`: a record that was once there stays there, acknowledged or not.
    """

    acknowledged: int
    whose: str
    only_grows: bool = False


@dataclass(frozen=True, slots=True)
class Roots:
    """One snapshot of the records: live manifests by name, the names of retired ones, and live pins by name."""

    live: Mapping[str, ManifestRoot]
    retired: frozenset[str]
    pins: Mapping[str, PinRoot]

    def chain(self, name: str) -> Sequence[ManifestRoot]:
        """The manifest and those below it, newest first, as far as the records go."""
        return list(self._down(name))

    def _down(self, name: str) -> Iterator[ManifestRoot]:
        root = self.live.get(name)
        seen = set()
        while root is not None and root.name not in seen:
            seen.add(root.name)
            yield root
            root = self.live.get(root.base) if root.base is not None else None


class Ledger(Protocol):
    """Whoever keeps the records, as a collection asks it."""

    def roots(self) -> Roots:
        """A snapshot of this moment."""
        ...

    def certain_roots(self) -> Roots | None:
        """A snapshot that no transaction which ended before it, well or not, changes afterwards; None on a full disk.

        One that failed in its commit, or whose process died there, may be in a database's log all the same, and come
        about after a crash, as long as nothing was written after it.
        """
        ...

    def forget_retired(self, names: Sequence[str]) -> object:
        """The files of these retired manifests are gone: so may their records."""
        ...

    def expect_order(self, name: str) -> None:
        """The blocks of the image with this manifest are about to be put in order; then a whole one is worth it.

        Durable when this returns: whoever puts them in order may not live to tell what has come of it.
        """
        ...


def path_of(root: Path, name: str) -> Path:
    """Where the manifest with this name lies in a data directory."""
    return manifest_builder.path_of(root / "manifests", name)
