"""The data directory: its tree, its `format` file and its lock. FORMAT.md draws the tree.

`lock` is shared by everything that runs (serve, worker) and exclusive for first init, migration and the offline
verbs. Converting a flock is not atomic, so a change of mode is: release, take, check again. `format` is written last
of all at init: a directory without it was never finished. Later only version bits are added to it.
"""

from __future__ import annotations

import os
import re
import struct
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blockstore import clock
from blockstore.checksum import xxh3
from blockstore.disk import Disk, disk_errors
from blockstore.errors import Damaged, DataRefused
from blockstore.features import NONE, Features
from blockstore.leases.flock import LockFile, holder, is_held, live_files, try_lock, wait_for_lock
from blockstore.names import new_name

if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC: Final = b"DRYSTONE"
_FORMAT: Final = struct.Struct("<8sIII16s")
_SUM: Final = struct.Struct("<Q")
FORMAT_SIZE: Final = _FORMAT.size + _SUM.size

_OCTAL: Final = re.compile(r"\\([0-7]{3})")
"""How proc(5) writes spaces and the like in a path."""
PATIENCE: Final = 5.0
"""Seconds that a start waits for another's first start or an offline verb to end."""
FAN_OUT: Final = ("packs", "manifests")

FOLDERS: Final = ("packs", "manifests", "journals", "index", "leases", "processes")
NETWORK: Final = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "lustre", "fuse")


def encode_format(store: bytes, features: Features = NONE) -> bytes:
    """The `format` file: FORMAT_SIZE bytes."""
    body = _FORMAT.pack(MAGIC, features.compat, features.ro_compat, features.incompat, store)
    return body + _SUM.pack(xxh3(body))


def decode_format(data: bytes, what: str) -> bytes:
    """The store's id, 16 bytes; DataRefused if the format is newer, Damaged if these are other bytes."""
    if len(data) != FORMAT_SIZE or data[:8] != MAGIC or xxh3(data[: _FORMAT.size]) != _SUM.unpack(data[-8:])[0]:
        raise Damaged(f"{what} is not a Drystone format file, or it is damaged")
    _, compat, ro_compat, incompat, store = _FORMAT.unpack_from(data)
    Features(compat, ro_compat, incompat).check(what, write=True)
    return bytes(store)


def check_root(root: Path) -> str:
    """The type of the file system that `root` lies on or would; DataRefused if no data may be there. Makes nothing."""
    root = root.absolute()
    _refuse_network(root)
    with disk_errors(str(root)):
        if root.exists() and not (root / "format").exists():
            _refuse_strangers(root)
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as mounts:
        return file_system(Path(os.path.realpath(root)), mounts)


def network_file_system(path: Path, mountinfo: Iterable[str]) -> str:
    """The type of the network file system that `path` lies on, or an empty string; `mountinfo` as in proc(5)."""
    kind = file_system(path, mountinfo)
    return kind if kind.split(".")[0] in NETWORK else ""


def file_system(path: Path, mountinfo: Iterable[str]) -> str:
    """The type of the file system that `path` lies on, such as `ext4`; `mountinfo` as in proc(5)."""
    best, kind = "", ""
    for line in mountinfo:
        fields, _, rest = line.partition(" - ")
        mount = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields.split()[4])
        inside = mount == "/" or f"{path}/".startswith(f"{mount}/")
        if inside and len(mount) >= len(best):
            best, kind = mount, rest.split()[0]
    return kind


@dataclass(slots=True)
class DataDir:
    """An open data directory: this process holds its lock (shared) and has a lock file of its own."""

    root: Path
    store: bytes
    process: LockFile
    disk: Disk
    _lock: int
    _announcing: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, root: Path, disk: Disk, *, purpose: str = "serve") -> DataDir:
        """Open, or make if it is empty or missing; DataRefused says why not and what to do."""
        root = root.absolute()
        _refuse_network(root)
        with disk_errors(str(root)):
            _make_root(root, disk)
            lock = _shared_lock(root, disk)
        try:
            with disk_errors(str(root / "processes")):
                store = decode_format((root / "format").read_bytes(), str(root / "format"))
                live_files(root / "processes")
            return cls(root, store, LockFile(root / "processes", purpose), disk, lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def open_made(cls, root: Path, disk: Disk, *, purpose: str, exclusive: bool) -> DataDir:
        """Open one that exists, beside others or alone; DataRefused says who is there, or that there is nothing."""
        root = root.absolute()
        _refuse_network(root)
        with disk_errors(str(root)):
            if not (root / "format").exists():
                raise DataRefused(f"there is no Drystone data in {root}: name its directory with --data")
            lock = _lock_of(root, shared=not exclusive)
        try:
            with disk_errors(str(root)):
                store = decode_format((root / "format").read_bytes(), str(root / "format"))
                return cls(root, store, LockFile(root / "processes", purpose), disk, lock)
        except BaseException:
            os.close(lock)
            raise

    def folder(self, name: str) -> Path:
        """One of FOLDERS."""
        return self.root / name

    def announce(self, incompat: int) -> None:
        """Set incompat bits in `format`, durable, before the first file that has them: older programs then stop here.

        Never taken back. Safe on several threads and in several processes.
        """
        path = self.root / "format"
        with self._announcing, disk_errors(str(path)):
            known = _read_features(path)
            if known.incompat & incompat == incompat:
                return
            guard = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                wait_for_lock(guard)
                # Read again under the lock: another process may have set other bits meanwhile.
                known = _read_features(path)
                _write_format(self.root, self.store, replace(known, incompat=known.incompat | incompat), self.disk)
            finally:
                os.close(guard)

    def is_alive(self, process: str) -> bool:
        """Whether the process that had this lock file still holds it."""
        return is_held(self.folder("processes") / process)

    def close(self) -> None:
        """Let go of the locks."""
        self.process.close()
        os.close(self._lock)


def _refuse_network(root: Path) -> None:
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as mounts:
        kind = network_file_system(Path(os.path.realpath(root)), mounts)
    if kind:
        raise DataRefused(
            f"{root} lies on a network file system ({kind}), where locks and memory maps can't be trusted: "
            "choose a directory on a local disk with --data",
        )


def _make_root(root: Path, disk: Disk) -> None:
    """Make the directory and those above it, each durable in its parent."""
    missing = [path for path in (root, *root.parents) if not path.exists()]
    for path in reversed(missing):
        disk.make_directory(path)
    if not (root / "format").exists():
        _refuse_strangers(root)


def _shared_lock(root: Path, disk: Disk) -> int:
    """Take the lock in shared mode, after making the tree under the exclusive one if need be."""
    deadline = clock.monotonic() + PATIENCE
    while True:
        made = (root / "format").exists()
        fd = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            taken = try_lock(fd, shared=made)
            # Looked at again under the lock: somebody may have made the tree since.
            if taken and not made and not (root / "format").exists():
                _make_tree(root, disk)
        except BaseException:
            os.close(fd)
            raise
        if taken and made:
            return fd
        # From exclusive to shared there is no safe step: let go, and look again.
        os.close(fd)
        if not taken:
            # However long it took to make the tree: only who holds the lock is a reason to refuse.
            if clock.monotonic() > deadline:
                raise _in_use(root)
            time.sleep(0.05)


def _lock_of(root: Path, *, shared: bool) -> int:
    """The lock of a tree that is there; waits a little for whoever is about to end."""
    deadline = clock.monotonic() + (PATIENCE if shared else 0)
    fd = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while not try_lock(fd, shared=shared):
        if clock.monotonic() >= deadline:
            os.close(fd)
            raise _in_use(root)
        time.sleep(0.05)
    return fd


def _in_use(root: Path) -> DataRefused:
    owners = "; ".join(holder(path) for path in live_files(root / "processes")) if (root / "processes").exists() else ""
    return DataRefused(
        f"{root} is in use by another process ({owners or 'an offline verb or a first start'}): "
        "wait until it has finished, or stop it",
    )


def _refuse_strangers(root: Path) -> None:
    ours = {"lock", "format", "lost+found", *FOLDERS}
    others = [path.name for path in root.iterdir() if path.name not in ours and not path.name.startswith(".format-")]
    if others:
        raise DataRefused(
            f"{root} is not empty and holds no Drystone data (it has {others[0]!r}): "
            "choose an empty or new directory with --data",
        )


def _make_tree(root: Path, disk: Disk) -> None:
    for folder in FOLDERS:
        disk.make_directory(root / folder)
    # All of them now, so that no upload has to make one and wait until it is durable.
    for folder in FAN_OUT:
        for number in range(256):
            (root / folder / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
        disk.sync_directory(root / folder)
    _write_format(root, new_name(), NONE, disk)


def _read_features(path: Path) -> Features:
    data = path.read_bytes()
    decode_format(data, str(path))
    return Features(*_FORMAT.unpack_from(data)[1:4])


def _write_format(root: Path, store: bytes, features: Features, disk: Disk) -> None:
    hidden = root / f".format-{new_name().hex()}"
    fd = disk.create(hidden)
    try:
        disk.write(fd, [encode_format(store, features)], 0, str(hidden))
        disk.sync(fd, str(hidden))
    finally:
        os.close(fd)
    disk.rename(hidden, root / "format")
    disk.sync_directory(root)
