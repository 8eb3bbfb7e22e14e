"""What a regular file's blocks were called when it was scanned last, so that an unchanged file need not be read again.

Kept by device and inode, and taken only when size, mtime and ctime are the same to the nanosecond. A file that was
changed less than two seconds before its scan is not kept: another change could leave the same times. Block devices
have no times and are never kept.

A write through a memory map sets the times only when it is the first to its page since that was written back, so a
push has the file written back before it looks at the times. A file system in memory writes nothing back: of its files
nothing is kept. What is trusted beyond that: that a network or FUSE file system tells of others' writes by its times,
and that nobody who writes to the file sets the clock back.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blockstore.clock import now_us

if TYPE_CHECKING:
    from httpapi.client.block_file import Stamp
    from httpapi.client.block_names import NamesFile

QUIET_SECONDS: Final = 2.0
MOST_KEPT: Final = 64
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "hugetlbfs"})
_MOUNTS: Final = Path("/proc/self/mountinfo")
_TEXT: Final = ".json"
_NEW: Final = ".new"
_FORGOTTEN_SECONDS: Final = 86400
_PIECE: Final = 1 << 20


class NamesCache:
    """A directory of names' files, each with a text beside it that says of what. Whatever fails, nothing is cached."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, stamp: Stamp, block_size: int) -> NamesFile | None:
        """The names of a file that is still as it was."""
        path = self._path(stamp, block_size)
        try:
            text = json.loads(path.with_suffix(_TEXT).read_bytes())
            if text["stamp"] != asdict(stamp):
                return None
            os.utime(path)
            # Late: a push that need not read names need not load what reads them.
            from httpapi.client.block_names import NamesFile

            found = NamesFile(path)
            # Of what was opened: another push may put another file in its place.
            if text["names"] == _sum_of(found.descriptor):
                return found
            found.close()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None

    def manifests_of(self, stamp: Stamp) -> dict[str, str]:
        """The digests of manifests of images with the bytes of a file that is still as it was, in hex.

        Each with the last image of them that was made of the file.
        """
        return {text["manifest"]: text["image"] for _, text in self._texts(stamp)}

    def has_made(self, stamp: Stamp, manifest: str, image_id: str) -> None:
        """An image with this manifest was made of a file that is still as it was."""
        for path, text in self._texts(stamp):
            if text["manifest"] == manifest:
                new = path.with_name(f"{path.stem}.{os.urandom(8).hex()}{_NEW}")
                with suppress(OSError):
                    new.write_text(json.dumps({**text, "image": image_id}), encoding="utf-8")
                    new.replace(path)
                    os.utime(path.with_suffix(""))

    def keep(self, stamp: Stamp, block_size: int, names: Path, manifest: str, image_id: str, *, began_us: int) -> None:
        """Takes a copy of `names`, found by a scan that began then, unless the file had been changed just before.

        `manifest` is the digest of the manifest of the image that was made of them.
        """
        if began_us * 1000 - stamp.touched_ns < QUIET_SECONDS * 1e9 or now_us() < began_us:
            return
        from tempfile import mkstemp

        path = self._path(stamp, block_size)
        with suppress(OSError):
            if _is_in_memory(stamp.device):
                return
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            # A name of its own: another push of the same file may do this at the same time.
            descriptor, name = mkstemp(dir=self._directory, suffix=_NEW)
            new = Path(name)
            try:
                with os.fdopen(descriptor, "wb") as file, names.open("rb") as old:
                    shutil.copyfileobj(old, file, _PIECE)
                    text = {"stamp": asdict(stamp), "names": _sum_of(old.fileno())}
                    text |= {"manifest": manifest, "image": image_id}
                path.with_suffix(_TEXT).unlink(missing_ok=True)
                new.replace(path)
                new.write_text(json.dumps(text), encoding="utf-8")
                new.replace(path.with_suffix(_TEXT))
            finally:
                new.unlink(missing_ok=True)
            self._sweep()

    def _texts(self, stamp: Stamp) -> list[tuple[Path, dict[str, str]]]:
        """What is said of a file that is still as it was, and where: once for each size of blocks."""
        found = []
        with suppress(OSError, ValueError, KeyError, TypeError):
            for path in self._directory.glob(f"{stamp.device:x}-{stamp.inode:x}-*{_TEXT}"):
                text = json.loads(path.read_bytes())
                if text["stamp"] == asdict(stamp) and all(isinstance(text[key], str) for key in ("manifest", "image")):
                    found.append((path, text))
        return found

    def _path(self, stamp: Stamp, block_size: int) -> Path:
        how = f"-{stamp.reading}" if stamp.reading else ""
        return self._directory / f"{stamp.device:x}-{stamp.inode:x}-{block_size}{how}"

    def _sweep(self) -> None:
        """Forgets those that were not used for the longest, and what was being kept when somebody was killed."""
        for new in self._directory.glob(f"*{_NEW}"):
            if now_us() / 1e6 - new.stat().st_mtime > _FORGOTTEN_SECONDS:
                new.unlink(missing_ok=True)
        kept = [path for path in self._directory.iterdir() if not path.suffix]
        kept.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in kept[MOST_KEPT:]:
            path.unlink(missing_ok=True)
            path.with_suffix(_TEXT).unlink(missing_ok=True)


def _is_in_memory(device: int) -> bool:
    """Whether a file system is one of those, by its files' device."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        # ID, parent, device, and so on; behind the hyphen the type (proc_pid_mountinfo(5)).
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [number]:
            return after.split()[:1] != [] and after.split()[0] in IN_MEMORY
    return False


def _sum_of(descriptor: int) -> str:
    """Of a cache's own file, against damage; not of an image's bytes."""
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return hashlib.file_digest(file, "blake2b").hexdigest()
