"""Pulling an image as a file of another format: whole and checked by its hash first, then converted by qemu-img.

What was downloaded lies in a hidden file beside the new one, and is gone afterwards. A pull that was killed leaves it,
and the next one of the same file fetches only what differs.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from httpapi.client.block_file import open_block_file
from httpapi.client.disk_formats.chain import Layer, described
from httpapi.client.disk_formats.first_bytes import FORMATS
from httpapi.client.disk_formats.headers import read_header
from httpapi.client.disk_formats.served import check_whole, told_by
from httpapi.client.errors import SourceRefused, TargetRefused
from httpapi.client.file_target import FileTarget
from httpapi.client.programs import BoundProgram, find_program
from httpapi.client.target import open_target
from httpapi.client.transfers import pull_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from httpapi.client.api import ImagesApi
    from httpapi.client.pull import PullResult
    from httpapi.client.report import Report
    from httpapi.wire.images import ImageRecord

COMPRESSED: Final = {"qcow2": (), "vmdk": ("-o", "subformat=streamOptimized")}
"""The formats with compressed clusters, and what qemu-img is told to make them."""
_SUFFIX: Final = ".drystone-unconverted"
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """The format of the file, and whether its clusters are to be compressed."""

    format: str
    compressed: bool = False

    def is_made_by_converting(self, image: ImageRecord) -> bool:
        """Whether the image's bytes are not such a file already."""
        return self.compressed or image.disk_format != self.format


async def pull_converted(
    api: ImagesApi, image: ImageRecord, path: str, wanted: Wanted, report: Report, *, force: bool = False
) -> PullResult:
    """Downloads the image and makes the file `path` of it, which appears when it is whole.

    Raises as `pull_disk` does, ProgramMissing, and TargetRefused for what cannot be converted.
    """
    find_program("qemu-img", f"and without --format the image comes as it is, {image.disk_format}")
    _refuse_unknown(image)
    target = open_target(path, force=force)
    finished = False
    try:
        if not isinstance(target, FileTarget):
            raise TargetRefused(f"{path} is no file: a disk of another format is made in a file, name one")
        whole = target.beside(_SUFFIX)
        done = await pull_disk(api, image.id, str(whole), report, force=True)
        try:
            report.tell(f"converting to {wanted.format}")
            await _in_a_thread(lambda stopped: _convert(whole, image, target, wanted, stopped))
            await asyncio.to_thread(target.finish)
        finally:
            whole.unlink(missing_ok=True)
        finished = True
        return done
    finally:
        if not finished:
            report.note(target.discard())


def _refuse_unknown(image: ImageRecord) -> None:
    if image.disk_format not in {"raw", *FORMATS} or image.container_format != "bare":
        raise TargetRefused(
            f"image {image.id} is {image.disk_format} in {image.container_format}, which is not converted here: "
            "pull it as it is, without --format"
        )


async def _in_a_thread(work: Callable[[Callable[[], bool]], None]) -> None:
    """Work that asks now and then whether it is to stop."""
    stopped = threading.Event()
    try:
        await asyncio.to_thread(work, stopped.is_set)
    except asyncio.CancelledError:
        stopped.set()
        raise


def _convert(whole: Path, image: ImageRecord, target: FileTarget, wanted: Wanted, stopped: Callable[[], bool]) -> None:
    with ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        layer = _layer(whole, image, stack, stopped)
        graph, inherited = stack.enter_context(described([layer]))
        options = ("-c", *COMPRESSED[wanted.format]) if wanted.compressed else ()
        command = [find_program("qemu-img"), "convert", "-O", wanted.format, *options, "--"]
        command += [f"json:{json.dumps(graph)}", str(target.part)]
        running = stack.enter_context(BoundProgram(command, stderr=errors, inherited=inherited))
        while (code := running.wait(_POLL_SECONDS)) is None:
            if stopped():
                return
        if code:
            raise TargetRefused(f"qemu-img could not make {target.name} ({told_by(errors)}): nothing is left of it")


def _layer(whole: Path, image: ImageRecord, stack: ExitStack, stopped: Callable[[], bool]) -> Layer:
    """What was downloaded, if it is one disk by itself: others may have made it."""
    file = open_block_file(str(whole))
    stack.callback(file.close)
    if image.disk_format == "raw":
        return Layer(file, "raw", file.size)
    name = f"image {image.id}"
    try:
        header = read_header(file.descriptor, str(image.disk_format), name)
        layer = Layer(file, header.format, header.size)
        check_whole([layer], stopped)
    except SourceRefused as failure:
        raise TargetRefused(f"{failure}; without --format the image comes as it is") from None
    if header.backing is not None:
        raise TargetRefused(
            f"{name} lies over {header.backing.name!r}, a file of whoever made it: pull it as it is, without --format"
        )
    return layer
