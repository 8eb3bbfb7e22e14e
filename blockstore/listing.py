"""What files there are in a data directory: their names and sizes, without opening one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from blockstore import journal, manifest
from blockstore import places as places_file
from blockstore.disk import disk_errors
from blockstore.packs import local

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Listed:
    """A file: the name in it (32 hex digits), its length and what it takes on the disk, in bytes."""

    name: str
    path: Path
    size: int
    taken: int


def packs(root: Path) -> Iterator[Listed]:
    """The packs' files."""
    return _fanned(root / "packs", local.SUFFIX)


def manifests(root: Path) -> Iterator[Listed]:
    """The manifests' files, finished or not."""
    return _fanned(root / "manifests", manifest.SUFFIX)


def seconds(root: Path) -> Iterator[Listed]:
    """The second copies of manifests; the name is the manifest's."""
    return _fanned(root / "manifests", manifest.SECOND)


def places(root: Path) -> Iterator[Listed]:
    """The files of places beside manifests; the name is the manifest's."""
    return _fanned(root / "manifests", places_file.SUFFIX)


def journals(root: Path) -> Iterator[Listed]:
    """The journals' files; the name is the pin's."""
    return _files(root / "journals", journal.SUFFIX)


def taken(root: Path) -> int:
    """Bytes that all files below `root` take on the disk, whosoever they are."""
    total = 0
    with disk_errors(str(root)):
        for path in root.rglob("*"):
            try:
                total += path.lstat().st_blocks * 512
            except FileNotFoundError:
                # Gone meanwhile: somebody may be at work.
                continue
    return total


def _fanned(directory: Path, suffix: str) -> Iterator[Listed]:
    with disk_errors(str(directory)), os.scandir(directory) as entries:
        folders = sorted(entry.path for entry in entries if entry.is_dir())
    for folder in folders:
        yield from _files(folder, suffix)


def _files(directory: Path | str, suffix: str) -> Iterator[Listed]:
    # By scandir, which makes no path of what is not asked for: directories are hundreds, each nearly empty.
    with disk_errors(str(directory)):
        with os.scandir(directory) as entries:
            found = sorted((entry for entry in entries if _is_one(entry.name, suffix)), key=attrgetter("name"))
        for entry in found:
            try:
                about = entry.stat()
            except FileNotFoundError:
                continue
            path = Path(entry.path)
            yield Listed(path.stem, path, about.st_size, about.st_blocks * 512)


def _is_one(name: str, suffix: str) -> bool:
    return name.endswith(suffix) and not name.startswith(".")
