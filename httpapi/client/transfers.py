"""Push, pull and diff as one call each, by the best way that the server and what is here allow; what the verbs do.

For programs without an event loop each has a sync face: `push_sync`, `pull_sync`, `diff_sync`.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from httpapi.client.api import ImagesApi
from httpapi.client.auth import Access
from httpapi.client.block_file import BlockFile, open_block_file
from httpapi.client.delta_api import DeltaApi
from httpapi.client.errors import NoData, NotAnImageService, PartRefused, SourceRefused
from httpapi.client.keeping_names import begin_scan, keep_names
from httpapi.client.names import find_image
from httpapi.client.open_files import writer_of
from httpapi.client.parents import find_parent, find_parent_below
from httpapi.client.push import push
from httpapi.client.push_terms import MOST_BASES, PushWish
from httpapi.client.report import NoReport
from httpapi.client.source import PositionedSource, open_source
from httpapi.client.unchanged_push import push_unchanged
from httpapi.wire.images import PARENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blockstore.diff import Extent
    from httpapi.client.block_file import Readable
    from httpapi.client.diff import Side, Totals
    from httpapi.client.pull import PullResult
    from httpapi.client.push_terms import PushResult
    from httpapi.client.report import Report
    from httpapi.client.source import Source
    from httpapi.wire.images import ImageRecord


async def push_disk(
    api: ImagesApi, source: Source, want: Mapping[str, object], wish: PushWish, report: Report
) -> PushResult:
    """Creates an image with the attributes `want` and the bytes of `source`: what differs from a parent, else all.

    Raises SourceRefused, Mismatch, NoSuchImage, Ambiguous and whatever `api` raises.
    """
    await api.discover()
    file = source.file if isinstance(source, PositionedSource) else None
    if file is not None:
        _refuse_written(file, live=wish.live)
        await _begin(file)
    parent = await find_parent(api, wish.parent, want, wish.project, report)
    if parent is None and wish.parent is None and file is not None:
        parent = await find_parent_below(api, file, want, wish, report)
    _check_touched(source, parent, wish)
    if len(wish.bases) > MOST_BASES:
        raise SourceRefused(f"blocks may be taken from {MOST_BASES} further images, not from {len(wish.bases)}")
    if parent is not None and file is not None:
        others = [await find_image(api, each, project=wish.project) for each in wish.bases]
        keeping = wish.keeping(api.endpoint, file, want, others)
        from httpapi.client.delta_push import push_changes

        if (done := await push_changes(api, file, want, parent, report, keeping)) is not None:
            return done
        if wish.touched is not None:
            raise PartRefused("only a part of the file is known, and the whole would have to be sent: push it without")
    lineage = {} if parent is None else {PARENT: parent.id}
    scan = None if file is None or wish.live else await asyncio.to_thread(begin_scan, file)
    done = await push(api, source, {**want, **lineage}, report, keep=wish.keep)
    if file is not None and scan is not None and done.verified:
        await keep_names(api, file, scan, done.image, wish.cache)
    return done


def _check_touched(source: Source, parent: ImageRecord | None, wish: PushWish) -> None:
    """SourceRefused or PartRefused where what has changed was said, and cannot be made use of."""
    if wish.touched is None:
        return
    if not isinstance(source, PositionedSource):
        raise SourceRefused(f"{source.name} is a stream: what has changed can be said of what is read by position")
    if parent is None:
        raise PartRefused(
            "there is no image that what has changed could be compared with: name it with --parent, "
            "or push all of it first"
        )
    wish.touched.check(source.file.size, source.name)


def _refuse_written(file: Readable, *, live: bool) -> None:
    """SourceRefused where a QEMU writes to one of its files."""
    plain = isinstance(file, BlockFile)
    for each in () if live and plain else file.files:
        if (who := writer_of(each)) is not None:
            live_will_do = ", or say --live if a mixture of before and after will do" if plain else ""
            raise SourceRefused(
                f"{who} has {each.name} open to write: stop the virtual machine, or push a snapshot of it{live_will_do}"
            )


async def _begin(file: Readable) -> None:
    """Before anything is made at the server."""
    try:
        await asyncio.to_thread(file.begin)
    except asyncio.CancelledError:
        file.stop()
        raise


async def pull_disk(
    api: ImagesApi, image_id: str, path: str, report: Report, *, force: bool = False, seeds: Sequence[str] = ()
) -> PullResult:
    """Downloads the image to `path`: what differs from what is here, else all. Raises as `pull` does."""
    from httpapi.client.delta_pull import pull_changes
    from httpapi.client.hashing import stated_hash
    from httpapi.client.pull import pull
    from httpapi.client.target import open_target
    from httpapi.client.update_target import open_update

    # Where the server states no hash of the whole, each block is proved by its own.
    unproved = stated_hash(await api.get_image(image_id)) is None
    if (update := open_update(path, seeds, force=force, empty=unproved)) is not None:
        done = await pull_changes(api, image_id, update, report)
        if done is not None:
            return done
    return await pull(api, image_id, open_target(path, force=force), report)


async def clone_disk(
    api: ImagesApi, image_id: str, path: str, report: Report, *, force: bool = False, verify: bool = True
) -> PullResult:
    """As `pull_disk`, by a clone of a file of this machine if the service names one; raises as `pull` does."""
    from httpapi.client.quick_clone import must_be_a_file, pull_clone

    must_be_a_file(path)
    done = await pull_clone(api, image_id, path, report, force=force, verify=verify)
    return done or await pull_disk(api, image_id, path, report, force=force)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where `b` differs from `a`: files by their path, images by their id; sizes in bytes."""

    a: str
    b: str
    size_a: int
    size_b: int
    extents: Sequence[Extent]
    totals: Totals


async def diff_disks(api: ImagesApi, a: str, b: str, report: Report, *, project: str | None = None) -> Difference:
    """Compares two images or files; what names a file that exists is that file. Raises as `find_image` does."""
    from httpapi.client.diff import Totals, changes, image_changes

    delta = DeltaApi(api)
    totals, extents = Totals(), []
    with ExitStack() as stack:
        operands = [await _operand(api, each, project, stack) for each in (a, b)]
        (label_a, size_a, file_a), (label_b, size_b, file_b) = operands
        if file_a is None and file_b is None:
            found = image_changes(delta, label_b, label_a)
        else:
            since = file_a or await _names(delta, label_a, stack)
            here = file_b or await _names(delta, label_b, stack)
            found = changes(since, here, report)
        async for extent in found:
            extents.append(extent)
            totals.add(extent)
    return Difference(label_a, label_b, size_a, size_b, extents, totals)


async def _operand(
    api: ImagesApi, text: str, project: str | None, stack: ExitStack
) -> tuple[str, int, BlockFile | None]:
    """(what it is called, its size, the open file if it is one)."""
    if _is_there(text):
        file = open_block_file(text)
        stack.callback(file.close)
        return text, file.size, file
    image = await find_image(api, text, project=project)
    if image.size is None or image.status != "active":
        raise NoData(f"image {image.id} has no data yet, it is {image.status}: wait for its upload")
    return image.id, image.size, None


def _is_there(text: str) -> bool:
    return bool(text) and os.path.lexists(text)


async def _names(delta: DeltaApi, image_id: str, stack: ExitStack) -> Side:
    from httpapi.client.block_names import fetch_names

    names = await fetch_names(delta, image_id)
    if names is None:
        raise NotAnImageService("the server does not tell which blocks an image has: pull it and compare files")
    stack.callback(names.close)
    return names


def push_sync(
    access: Access | str, path: str, want: Mapping[str, object], wish: PushWish, report: Report | None = None
) -> PushResult:
    """`push_unchanged`, else `push_disk`, of a file, device or `-`.

    `want` has at least `disk_format` and `container_format`.
    """
    report = report or NoReport()

    async def connected() -> PushResult:
        async with ImagesApi(access) as api:
            return await push_disk(api, source, want, wish, report)

    access = Access(access, "the address") if isinstance(access, str) else access
    source = open_source(path, live=wish.live)
    try:
        return push_unchanged(access, source, want, wish, report) or asyncio.run(connected())
    finally:
        source.close()


def pull_sync(
    access: Access | str,
    image: str,
    path: str,
    *,
    force: bool = False,
    seeds: Sequence[str] = (),
    project: str | None = None,
    report: Report | None = None,
) -> PullResult:
    """`pull_disk` of whatever `image` means."""

    async def connected() -> PullResult:
        async with ImagesApi(access) as api:
            found = await find_image(api, image, project=project)
            return await pull_disk(api, found.id, path, report or NoReport(), force=force, seeds=seeds)

    return asyncio.run(connected())


def diff_sync(access: Access | str, a: str, b: str, *, project: str | None = None) -> Difference:
    """`diff_disks`."""

    async def connected() -> Difference:
        async with ImagesApi(access) as api:
            return await diff_disks(api, a, b, NoReport(), project=project)

    return asyncio.run(connected())
