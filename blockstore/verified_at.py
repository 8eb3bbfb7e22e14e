"""When each pack and each manifest was last read through and found as it should be, and how far the present pass is.

One small file, replaced by a rename: a pass that is killed goes on behind the last things that it had written down.
What it says is worth a little disk time and nothing more: one that is lost or damaged means that nothing was verified.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blockstore.checksum import xxh3
from blockstore.disk import disk_errors
from blockstore.features import Features
from blockstore.leases.flock import is_held, only_one

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from blockstore.disk import Disk

log = logging.getLogger(__name__)
FOLDER: Final = "scrub"
MAGIC: Final = b"DRYSCRUB"
_HEAD: Final = struct.Struct("<8sIII16sQQQ")
_SUM: Final = struct.Struct("<Q")
_ROW: Final = struct.Struct("<16sQ")
HEAD_SIZE: Final = _HEAD.size + _SUM.size
ROW_SIZE: Final = _ROW.size


@dataclass(frozen=True, slots=True)
class PacksVerified:
    """How many packs were never verified, and when the one was that was not for longest; when the passes were.

    Microseconds since 1970 UTC, 0 for never. `pass_began` is 0 while none is under way.
    """

    never: int
    oldest: int
    pass_began: int
    pass_ended: int


@dataclass(slots=True)
class VerifiedAt:
    """Times are microseconds since 1970 UTC, 0 for never. `times` is by name, 16 bytes, of packs and manifests alike.

    `began`: when the pass under way did, 0 without one. What was verified since is behind its cursor.
    """

    store: bytes
    began: int = 0
    finished: int = 0
    times: dict[bytes, int] = field(default_factory=dict)

    def of(self, packs: Collection[bytes]) -> PacksVerified:
        """How it stands with these packs, given by name."""
        times = [self.times[name] for name in packs if name in self.times]
        return PacksVerified(len(packs) - len(times), min(times, default=0), self.began, self.finished)

    def is_done(self, name: bytes) -> bool:
        """Whether the pass under way has verified it."""
        return self.times.get(name, 0) >= self.began


def encode(state: VerifiedAt) -> bytes:
    """The file's bytes: head, sum, rows by name, sum of the rows."""
    head = _HEAD.pack(MAGIC, 0, 0, 0, state.store, state.began, state.finished, len(state.times))
    rows = b"".join(_ROW.pack(name, at) for name, at in sorted(state.times.items()))
    return head + _SUM.pack(xxh3(head)) + rows + _SUM.pack(xxh3(rows))


def decode(data: bytes, store: bytes) -> VerifiedAt | None:
    """What a file says, None if it is damaged or another store's; DataRefused when it is of a newer format."""
    head = data[: _HEAD.size]
    if len(data) < HEAD_SIZE + _SUM.size or data[:8] != MAGIC or data[_HEAD.size : HEAD_SIZE] != _SUM.pack(xxh3(head)):
        return None
    _, compat, ro_compat, incompat, owner, began, finished, count = _HEAD.unpack(head)
    Features(compat, ro_compat, incompat).check("the file of scrubbing", write=True)
    rows = data[HEAD_SIZE : -_SUM.size]
    if owner != store or len(rows) != count * _ROW.size or data[-_SUM.size :] != _SUM.pack(xxh3(rows)):
        return None
    return VerifiedAt(owner, began, finished, dict(_ROW.iter_unpack(rows)))


def path_in(root: Path) -> Path:
    """Where the file lies in a data directory."""
    return root / FOLDER / "verified"


def load(root: Path, store: bytes) -> VerifiedAt:
    """What is known; nothing if there is no file, or none that can be read."""
    path = path_in(root)
    with disk_errors(str(path)):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return VerifiedAt(store)
    found = decode(data, store)
    if found is None:
        log.warning("%s is damaged: what was verified when is not known any more", path)
        return VerifiedAt(store)
    return found


def save(root: Path, state: VerifiedAt, disk: Disk) -> None:
    """Keep it, durable when this returns. For whoever has the lock."""
    replace_file(path_in(root), encode(state), disk)


def replace_file(path: Path, data: bytes, disk: Disk) -> None:
    """Give a file of the folder new contents: the old ones or the new ones are there at any time."""
    half = path.with_name(f".{path.name}-{os.getpid()}")
    disk.make_directory(path.parent)
    disk.unlink(half)
    fd = disk.create(half)
    try:
        disk.write(fd, [data], 0, str(half))
        disk.sync(fd, str(half))
    finally:
        os.close(fd)
    disk.rename(half, path)
    disk.sync_directory(path.parent)


def lock_of(root: Path) -> Path:
    """The file whose lock the one process has that scrubs."""
    return root / FOLDER / "lock"


def is_running(root: Path) -> bool:
    """Whether somebody scrubs right now."""
    return is_held(lock_of(root))


@contextlib.contextmanager
def alone(root: Path, disk: Disk) -> Iterator[None]:
    """Be the one that scrubs; DataRefused, with who it is, if somebody else does."""
    path = lock_of(root)
    disk.make_directory(path.parent)
    with only_one(path, f"{root} is being scrubbed", "scrub"):
        yield
