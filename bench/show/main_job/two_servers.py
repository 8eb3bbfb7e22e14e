"""Two server processes on one data directory: the same image through both at once, while others are deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from bench.images import MIB, compressible_image
from bench.show import client
from bench.show.registry import Figure, Room, at_most, check, holds
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

OTHERS = 6  # images that are deleted meanwhile, in turns through both servers


@check("main-job", "two-servers", "Two servers on one data directory upload the same image and delete others at once.")
def two_servers(room: Room) -> Generator[Figure, None, None]:
    rounds = 2 if room.short else 4
    size = (64 if room.short else 256) * MIB
    wrong: list[str] = []
    with Server(room.work / "data") as one, Server(room.work / "data") as two, ThreadPoolExecutor(8) as pool:
        urls = (one.url, two.url)
        kept: list[tuple[str, Path]] = []
        for number in range(rounds):
            image = room.work / f"image-{number}"
            compressible_image(image, size, seed=number)
            others = _upload_others(urls, room.work, number)
            uploads: list[Callable[[], str]] = [partial(client.upload, url, image) for url in urls]
            deletions = [partial(client.delete, urls[at % 2], other) for at, other in enumerate(others)]
            running = [pool.submit(upload) for upload in uploads]
            for deletion in [pool.submit(deletion) for deletion in deletions]:
                deletion.result()
            kept += [(upload.result(), image) for upload in running]
            gone = [other for other in others if other in _listed(urls[number % 2])]
            wrong += [f"{other} is still listed after its deletion" for other in gone]
        yield at_most("deleted images that are still listed", len(wrong), 0, "images", tuple(wrong))
        bad: list[str] = []
        for image_id, original in kept:
            for url in urls:
                back = room.work / "back"
                client.download(url, image_id, back)
                if not client.same(original, back):
                    bad.append(f"{image_id} through {url}")
        detail = (f"{len(kept)} images, each through both servers", *bad)
        yield holds("all bytes are right", not bad, detail)


def _upload_others(urls: tuple[str, str], work: Path, number: int) -> list[str]:
    """Images to be deleted: their blocks are the first ones of the image that is uploaded meanwhile."""
    source = work / "other"
    compressible_image(source, 8 * MIB, seed=number)
    images = [client.upload(urls[at % 2], source, f"other-{number}-{at}") for at in range(OTHERS)]
    source.unlink()
    return images


def _listed(url: str) -> set[str]:
    return {str(image["id"]) for image in client.call(f"{url}/v2/images?limit=1000")["images"]}
