"""A quick clone: the image lies in a file of this machine, and a service that may say so has told where.

The clone shares the file's extents where both are on one file system that can do that, and costs no time or room then;
else the file is copied by the kernel, its holes kept. What came of it is compared with the image's hash all the same.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from blockstore import file_clone
from blockstore.clock import monotonic
from httpapi.client.errors import TargetRefused
from httpapi.client.file_target import FileTarget
from httpapi.client.hashing import new_digest, stated_hash
from httpapi.client.lane import Lane
from httpapi.client.pull import PullResult
from httpapi.client.record import read_record
from httpapi.client.target import PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpapi.client.api import ImagesApi
    from httpapi.client.report import Report
    from httpapi.wire.images import ImageRecord

CLONED: Final = "reflink"
COPIED: Final = "copy"
"""How a file came to be, where it was no transfer."""

_AT_ONCE: Final = 32 << 20


async def pull_clone(
    api: ImagesApi, image_id: str, path: str, report: Report, *, force: bool, verify: bool
) -> PullResult | None:
    """The image as a clone of a file here; None after `report` was told why there is none.

    Raises TargetRefused as a pull does, and whatever `api` raises.
    """
    document = await api.ask("GET", f"/images/{quote(image_id, safe='')}")
    image = read_record(document)
    assert isinstance(document, dict)
    if verify and stated_hash(image) is None:
        report.note("the service states no hash yet that a clone could be checked by: pulling it, or say --no-verify")
        return None
    lane = Lane("pull-clone")
    try:
        source, notes = await lane.submit(partial(_open_first, document, image.size))
        for note in notes:
            report.note(note)
        if source is None:
            return None
        try:
            return await _Cloning(lane, image, source, report).run(Path(path), force=force, verify=verify)
        finally:
            await lane.submit(partial(os.close, source))
    finally:
        lane.close(wait=True)


def local_files(document: dict[str, object]) -> list[str]:
    """The paths on this machine that an image's record names, the first one to try first."""
    listed = document.get("locations")
    locations = listed if isinstance(listed, list) else []
    urls = [document.get("direct_url"), *(each.get("url") for each in locations if isinstance(each, dict))]
    return list(dict.fromkeys(path for url in urls if isinstance(url, str) and (path := _path_of(url)) is not None))


def _path_of(url: str) -> str | None:
    with suppress(ValueError):
        parts = urlsplit(url)
        path = unquote(parts.path, errors="surrogateescape")
        plain = parts.scheme == "file" and parts.netloc in {"", "localhost"} and not (parts.query or parts.fragment)
        if plain and path.startswith("/") and "\0" not in path:
            return path
    return None


def _open_first(document: dict[str, object], size: int | None) -> tuple[int | None, list[str]]:
    """The first file that can be read and has the image's size, open, and a sentence for each one that it is not."""
    paths = local_files(document)
    notes = [] if paths else ["the service names no file of this machine that holds the image: pulling it"]
    for path in paths:
        try:
            found = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as failure:
            notes.append(f"{path} cannot be read ({failure.strerror}): no clone of it")
            continue
        status = os.fstat(found)
        if stat.S_ISREG(status.st_mode) and status.st_size == size:
            return found, notes
        os.close(found)
        notes.append(f"{path} is no file of the image's {size} bytes: no clone of it")
    return None, notes


class _ClonedFile(FileTarget):
    """A file whose part is filled by the kernel; it gets its name as any other pull's does."""

    def clone(self, source: int) -> bool:
        """Share all of the source's extents, if that can be."""
        return file_clone.clone(source, self._descriptor)

    def copy(self, source: int, start: int, stop: int) -> None:
        """The same range of the source."""
        file_clone.copy_range(source, self._descriptor, start, stop)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """What is there now."""
        while start < stop and (piece := os.pread(self._descriptor, min(PIECE, stop - start), start)):
            yield piece
            start += len(piece)


class _Cloning:
    def __init__(self, lane: Lane, image: ImageRecord, source: int, report: Report) -> None:
        assert image.size is not None
        self._lane = lane
        self._image = image
        self._size = image.size
        self._source = source
        self._report = report

    async def run(self, path: Path, *, force: bool, verify: bool) -> PullResult | None:
        began = monotonic()
        target = _ClonedFile(path, force=force)
        finished = False
        try:
            self._report.begin(self._size)
            how = await self._fill(target)
            if how is None:
                return None
            if verify and not await self._is_right(target):
                self._report.note("the file that the service names holds other bytes than the image: pulling it")
                return None
            await self._lane.submit(target.finish)
            finished = True
            seconds = monotonic() - began
            return PullResult(self._image, self._size, seconds, verify, unchanged=self._size, cloned=how)
        finally:
            if not finished:
                target.discard()

    async def _fill(self, target: _ClonedFile) -> str | None:
        """How it was done; None for a source that could not be read to its end."""
        await self._lane.submit(partial(target.begin, self._size))
        try:
            if await self._lane.submit(partial(target.clone, self._source)):
                return CLONED
            self._report.note("the file system cannot share the blocks of both files: copying them, holes kept")
            for start, stop in await self._lane.submit(self._extents):
                await self._lane.submit(partial(target.copy, self._source, start, stop))
                self._report.moved(stop)
        except (OSError, EOFError) as failure:
            reason = getattr(failure, "strerror", None) or "it became shorter"
            self._report.note(f"the file that the service names could not be cloned ({reason}): pulling the image")
            return None
        return COPIED

    def _extents(self) -> list[tuple[int, int]]:
        return list(file_clone.data_extents(self._source, self._size, _AT_ONCE))

    async def _is_right(self, target: _ClonedFile) -> bool:
        stated = stated_hash(self._image)
        assert stated is not None
        digest = new_digest(stated[0])

        def take(start: int) -> None:
            for piece in target.read(start, min(start + _AT_ONCE, self._size)):
                digest.update(piece)

        for start in range(0, self._size, _AT_ONCE):
            await self._lane.submit(partial(take, start))
            self._report.moved(min(start + _AT_ONCE, self._size))
        return digest.hexdigest() == stated[1]


def must_be_a_file(path: str) -> None:
    """Raises TargetRefused for what a clone cannot be: a stream, or a device."""
    with suppress(OSError):
        kind = Path(path).stat().st_mode
        if not stat.S_ISREG(kind):
            raise TargetRefused(f"{path} is no regular file, and only that can be a clone: leave --reflink out")
