"""A disk that is full to its last byte: to delete images and collect gives space back, and needs none."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from bench.images import MIB, compressible_image
from bench.show import client
from bench.show.collection.space import collect
from bench.show.registry import Figure, Room, at_least, check, holds, told
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

FREED: Final = 0.9  # of what the deleted images took
_IMAGES, _STAY = 8, 2
_DISKS: Final = ("tmpfs", "ext4")
_SIZE: Final = 128 * MIB
_IMAGE: Final = 8 * MIB


@check("collection", "freed-when-full", "On a disk that is full to the last byte, deleting and collecting frees space.")
def full_disk(room: Room) -> Generator[Figure, None, None]:
    if os.geteuid():
        yield holds("this is root, who may mount a small disk", ok=False)
        return
    for kind in _DISKS:
        disk = room.work / kind
        with _mounted(disk, kind):
            yield from _figures(room.work, disk, kind)


def _figures(work: Path, disk: Path, kind: str) -> Generator[Figure, None, None]:
    files = [work / f"image-{number}" for number in range(_IMAGES)]
    for number, file in enumerate(files):
        compressible_image(file, _IMAGE, number)
    images = []
    for file in files:
        before = shutil.disk_usage(disk).free
        # When a server ends, its pack is sealed. Each image has a pack: what lives in a pack has to be copied before
        # it can go, and for that there is no room here.
        with Server(disk / "data") as server:
            images.append(client.upload(server.url, file))
    with Server(disk / "data") as server:
        each = before - shutil.disk_usage(disk).free
        _fill(disk / "filler")
        full = shutil.disk_usage(disk).free
        refused = _refused(server.url, files[0], work)
        for image in images[_STAY:]:
            client.delete(server.url, image)
        said = collect(server.data, beside=True)
        freed = shutil.disk_usage(disk).free - full
        again = client.upload(server.url, files[-1])
        back = work / "back"
        kept = dict(zip(images[:_STAY], files, strict=False)) | {again: files[-1]}
        same = []
        for image, file in kept.items():
            client.download(server.url, image, back)
            same.append(client.same(file, back))
    bound = FREED * each * (_IMAGES - _STAY)
    yield told(f"{kind}, full: an upload of new bytes is refused", "yes" if refused else "no", (f"{full} bytes free",))
    detail = (
        f"{_IMAGES - _STAY} of {_IMAGES} images deleted, of {each / 1e6:.2f} MB each",
        f"gc: {said['freed']} bytes",
    )
    yield at_least(f"{kind}: free after deletion and gc", freed / 1e6, bound / 1e6, "MB", detail)
    yield holds(f"{kind}: what stays is right, and an upload goes in again", all(same))


def _refused(url: str, like: Path, work: Path) -> bool:
    """Whether new bytes find no room."""
    other = work / "other"
    compressible_image(other, like.stat().st_size, seed=999)
    try:
        client.upload(url, other)
    except RuntimeError as error:
        return re.search(r"\b(413|503)\b", str(error)) is not None
    return False


def _fill(path: Path) -> None:
    """Take all the space there is, to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    continue


@contextlib.contextmanager
def _mounted(place: Path, kind: str) -> Iterator[None]:
    """A small file system of its own."""
    place.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(place)]
    else:
        image = place.with_suffix(".img")
        with image.open("wb") as file:
            file.truncate(_SIZE)
        client.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", str(image)])
        command = ["mount", "-o", "loop", str(image), str(place)]
    client.run(command)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
