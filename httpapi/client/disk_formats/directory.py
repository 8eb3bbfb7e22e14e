"""A directory of disks as images: what lies below others first, and each overlay over the image of its base."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from httpapi.client.delta_api import DeltaApi
from httpapi.client.disk_formats.guest_disk import GuestSource
from httpapi.client.disk_formats.opening import open_guest_disk
from httpapi.client.errors import ClientError, NotFound, SourceRefused
from httpapi.client.parents import NO_PARENT, find_parent
from httpapi.client.report import NoReport
from httpapi.client.source import FileSource, PositionedSource
from httpapi.client.transfers import push_disk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.client.block_file import Readable
    from httpapi.client.push_terms import PushWish
    from httpapi.client.report import Report
    from httpapi.wire.images import ImageRecord

IMPORTED: Final = "imported"
THERE: Final = "there"
FAILED: Final = "failed"
PLANNED: Final = "planned"
_RAW: Final = {"disk_format": "raw", "container_format": "bare"}


@dataclass(frozen=True, slots=True)
class Disk:
    """A file that is to become the image `name`; `base` is the file it lies over, `depth` how many lie below it."""

    path: str
    name: str
    format: str
    base: str | None
    depth: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be imported, each after what it lies over; files that are no such disks; and those refused, with why.

    `places` are the directories in which files below others may lie.
    """

    places: Sequence[str]
    disks: Sequence[Disk]
    others: Sequence[str]
    refused: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of a disk: one of the words above. `sent` in bytes; `why` of one that failed."""

    disk: Disk
    what: str
    image: ImageRecord | None = None
    sent: int = 0
    why: str | None = None


def look(directory: str, backing_dirs: Sequence[str], pattern: str = "{}") -> Plan:
    """The disks in a directory, not in those below it, and what they lie over; `{}` in `pattern` is a file's name."""
    places = (directory, *backing_dirs)
    bases: dict[str, str | None] = {}
    formats: dict[str, str] = {}
    depths: dict[str, int] = {}
    others, refused = [], {}
    for path in sorted(_files(directory)):
        try:
            disk = open_guest_disk(path, places)
        except SourceRefused as failure:
            refused[path] = str(failure)
            continue
        if disk is None:
            others.append(path)
            continue
        with closing(disk):
            chain = [_same(each.name, bases) for each in disk.files]
        for at, each in enumerate(chain):
            bases[each] = chain[at + 1] if at + 1 < len(chain) else None
            formats[each], depths[each] = disk.formats[at], len(chain) - at
    names = _names(bases, pattern)
    disks = [Disk(path, names[path], formats[path], base, depths[path] - 1) for path, base in bases.items()]
    disks.sort(key=lambda disk: (disk.depth, disk.path))
    return Plan(places, disks, [path for path in others if _same(path, bases) not in bases], refused)


def _files(directory: str) -> list[str]:
    try:
        return [str(each) for each in Path(directory).iterdir() if each.is_file() and not each.name.startswith(".")]
    except OSError as failure:
        raise SourceRefused(f"cannot read {directory}: {failure.strerror}") from failure


def _same(path: str, known: Mapping[str, object]) -> str:
    """The path by which a file is known already, however it was reached."""
    real = os.path.realpath(path)
    return next((each for each in known if os.path.realpath(each) == real), os.path.normpath(path))


def _names(paths: Mapping[str, object], pattern: str) -> dict[str, str]:
    """By the files' names without suffix; with it where two would be called the same."""
    stems = [Path(each).stem for each in paths]
    plain = {each: Path(each).stem if stems.count(Path(each).stem) == 1 else Path(each).name for each in paths}
    return {path: pattern.replace("{}", name) for path, name in plain.items()}


async def bring(
    api: ImagesApi, plan: Plan, want: Mapping[str, object], wish: PushWish, report: Report
) -> AsyncIterator[Brought]:
    """Makes an image of each disk, with the attributes `want`, and tells what became of it.

    What is there already with the same bytes stays. What lies over a disk that failed is not tried.
    """
    images: dict[str, str] = {}
    for disk in plan.disks:
        if disk.base is not None and disk.base not in images:
            yield Brought(disk, FAILED, why=f"what it lies over, {disk.base}, was not imported")
            continue
        parent = None if disk.base is None else images[disk.base]
        try:
            done = await _bring(api, disk, plan, parent, {**want, **_RAW, "name": disk.name}, wish, report)
        except ClientError as failure:
            yield Brought(disk, FAILED, why=str(failure))
            continue
        assert done.image is not None
        images[disk.path] = done.image.id
        yield done


async def _bring(
    api: ImagesApi,
    disk: Disk,
    plan: Plan,
    parent: str | None,
    want: Mapping[str, object],
    wish: PushWish,
    report: Report,
) -> Brought:
    source = _open(disk, plan.places)
    with closing(source):
        newest = await find_parent(api, None, want, wish.project, NoReport())
        there = await _there(api, source.file, newest, want, wish)
        if there is not None:
            return Brought(disk, THERE, there)
        report.tell(f"{disk.path} becomes {disk.name}")
        over = parent or (NO_PARENT if newest is None else newest.id)
        done = await push_disk(api, source, want, replace(wish, parent=over), report)
        return Brought(disk, IMPORTED, done.image, done.sent)


def _open(disk: Disk, places: Sequence[str]) -> PositionedSource:
    """Judged anew: it may be another file by now."""
    if disk.format == "raw":
        return FileSource(os.open(disk.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), disk.path)
    found = open_guest_disk(disk.path, places)
    if found is None or found.format != disk.format:
        raise SourceRefused(f"{disk.path} is no {disk.format} any more: run it again")
    return GuestSource(found)


async def _there(
    api: ImagesApi, file: Readable, newest: ImageRecord | None, want: Mapping[str, object], wish: PushWish
) -> ImageRecord | None:
    """The image with these bytes and this name: as remembered, or as its blocks tell."""
    stamp = file.stamp()
    for image_id in () if stamp is None else wish.cache.manifests_of(stamp).values():
        with suppress(NotFound):
            image = await api.get_image(image_id)
            if image.status == "active" and image.name == want["name"]:
                return image
    if newest is None or newest.size != file.size:
        return None
    return newest if await _is_same(api, file, newest) else None


async def _is_same(api: ImagesApi, file: Readable, image: ImageRecord) -> bool:
    from httpapi.client.block_names import fetch_names
    from httpapi.client.diff import changes

    names = await fetch_names(DeltaApi(api), image.id)
    if names is None:
        return False
    with closing(names):
        return not [extent async for extent in changes(names, file, NoReport())]
