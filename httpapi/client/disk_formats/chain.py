"""A disk's files, the top one first: which they are, may be followed, and how a tool is told to open just these.

An overlay names the file below it. Only a file that really lies beside the overlay or below its directory, or in a
directory that the user named, is opened: a disk that somebody made must not get others' files read.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from httpapi.client.block_file import BlockFile, Stamp, open_block_file
from httpapi.client.disk_formats.first_bytes import FORMATS, format_of
from httpapi.client.disk_formats.headers import read_header
from httpapi.client.errors import SourceRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from httpapi.client.disk_formats.headers import Backing

_MOST_LAYERS: Final = 64
_INHERITED_FROM: Final = 10
_OVERLAYS_ARE: Final = frozenset({".qcow2", ".qcow", ".overlay", ".snapshot"})


@dataclass(frozen=True, slots=True)
class Layer:
    """One open file of a disk: its format, and the guest's size in bytes."""

    file: BlockFile
    format: str
    size: int


@dataclass(frozen=True, slots=True)
class Allowed:
    """Where files below others may lie: `directories` that the user named, and beside or below the overlay itself."""

    directories: Sequence[str] = ()
    real: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "real", tuple(os.path.realpath(each) for each in self.directories))


def open_chain(file: BlockFile, disk_format: str, allowed: Allowed) -> list[Layer]:
    """The files of the disk whose top one is `file`, which it takes over; those below are opened.

    SourceRefused for what is not to be followed, damaged or a riddle.
    """
    with ExitStack() as stack:
        stack.callback(file.close)
        layers: list[Layer] = []
        seen: set[tuple[int, int]] = set()
        path: str = file.name
        while True:
            status = os.fstat(file.descriptor)
            if (status.st_dev, status.st_ino) in seen or len(layers) == _MOST_LAYERS:
                raise SourceRefused(f"{path} is below itself, or below too many others: mend it with `qemu-img rebase`")
            seen.add((status.st_dev, status.st_ino))
            if disk_format == "raw":
                layers.append(Layer(file, "raw", file.size))
                break
            header = read_header(file.descriptor, disk_format, path)
            layers.append(Layer(file, disk_format, header.size))
            if header.backing is None:
                break
            _check_name(path, top=len(layers) == 1, allowed=allowed)
            file, disk_format = _open_below(path, header.backing, allowed, stack)
            path = file.name
        stack.pop_all()
        return layers


def _check_name(path: str, *, top: bool, allowed: Allowed) -> None:
    """A raw disk begins with whatever its guest has written there: alone, that must not make an overlay of it."""
    if top and PurePath(path).suffix.lower() not in _OVERLAYS_ARE and not allowed.directories:
        raise SourceRefused(
            f"{path} is a qcow2 overlay, and its name does not say so: if that is right, say where its backing file "
            f"is with --backing-dir; if it is a raw disk, push it with --as-is"
        )


def _open_below(path: str, backing: Backing, allowed: Allowed, stack: ExitStack) -> tuple[BlockFile, str]:
    told = f"{path} says that it lies over {backing.name!r}"
    if backing.format is None:
        raise SourceRefused(
            f"{told}, but not of which format that is: state it with "
            f"`qemu-img rebase -u -F qcow2 -b {backing.name} {path}`, or keep the file's bytes with --as-is"
        )
    if backing.format not in {"raw", *FORMATS}:
        raise SourceRefused(
            f"{told} of the format {backing.format!r}, which is not followed: keep the file's bytes with --as-is"
        )
    if ":" in backing.name.partition("/")[0]:
        raise SourceRefused(
            f"{told}, which is no file's name, and nothing else is followed: "
            "put a file in its place with `qemu-img rebase`, or keep the file's bytes with --as-is"
        )
    try:
        below = open_block_file(str(Path(path).parent / backing.name))
    except SourceRefused as failure:
        raise SourceRefused(f"{told}: {failure}") from None
    stack.callback(below.close)
    _check_place(path, below, allowed)
    if backing.format != "raw" and format_of(below.descriptor) != backing.format:
        raise SourceRefused(f"{told} as {backing.format}, and that is none: `qemu-img rebase` says what it is")
    return below, backing.format


def _check_place(path: str, below: BlockFile, allowed: Allowed) -> None:
    # Of what was opened, by whatever links it was reached.
    real = Path(f"/proc/self/fd/{below.descriptor}").readlink()
    beside = str(Path(os.path.realpath(path)).parent)
    places = allowed.real if below.is_device else (beside, *allowed.real)
    if not any(real.is_relative_to(each) for each in places):
        raise SourceRefused(
            f"{path} says that it lies over {real}, which is neither beside it nor below: if it is to be read, "
            f"say --backing-dir {real.parent}; else keep the file's bytes with --as-is"
        )


def stamp_of(layers: Sequence[Layer]) -> Stamp | None:
    """What tells that these files, read as one disk, have the same bytes as ever; None if nothing does."""
    stamps = [each.file.stamp() for each in layers]
    if len(layers) == 1 and layers[0].format == "raw":
        return stamps[0]
    known = [each for each in stamps if each is not None]
    if len(known) < len(stamps):
        return None
    said = repr([(layer.format, stamp) for layer, stamp in zip(layers, known, strict=True)])
    top = known[0]
    return Stamp(
        top.device,
        top.inode,
        layers[0].size,
        max(each.mtime_ns for each in known),
        max(each.ctime_ns for each in known),
        hashlib.sha256(said.encode()).hexdigest()[:32],
    )


@contextmanager
def described(layers: Sequence[Layer]) -> Iterator[tuple[dict[str, object], list[int]]]:
    """The disk as QEMU's `-blockdev` has it, each file by a descriptor to inherit; and these descriptors.

    All formats and all files are said, and where nothing is below, that: QEMU follows no name that a file has.
    """
    inherited: list[int] = []
    try:
        graph: dict[str, object] | None = None
        for layer in reversed(layers):
            inherited.append(fcntl.fcntl(layer.file.descriptor, fcntl.F_DUPFD_CLOEXEC, _INHERITED_FROM))
            driver = "host_device" if layer.file.is_device else "file"
            file = {"driver": driver, "filename": f"/proc/self/fd/{inherited[-1]}"}
            below = {"backing": graph} if layer.format in {"qcow2", "vmdk"} else {}
            graph = {"driver": layer.format, "file": file, **below}
        assert graph is not None
        yield graph, inherited
    finally:
        for each in inherited:
            os.close(each)
