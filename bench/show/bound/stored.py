"""Reads as stored, as a user would do them: a pipeline of a shell, from curl through zstd to cmp."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.images import MIB, compressible
from bench.show import client
from bench.show.registry import MB, Figure, Room, check, holds, told
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

ODD = 12_345
EVERY = 4 * MIB
_ZSTD = "Accept: application/zstd"


@dataclass(frozen=True, slots=True)
class Sparse:
    """An image that is a hole but for so many pieces of 1 MiB, one in each 4 MiB, and its very last bytes."""

    name: str
    size: int
    pieces: int
    tail: bytes


@check("bound", "stored", "curl -H 'Accept: application/zstd' | zstd -d | cmp, for a sparse image with an odd tail.")
def stored(room: Room) -> Generator[Figure, None, None]:
    pieces = 12 if room.short else 128
    size = pieces * EVERY + ODD
    images = [
        Sparse("a tail of data", size, pieces, os.urandom(777)),
        Sparse("a tail in a hole", size + EVERY, pieces, b""),
        Sparse("one short block", 777, 0, os.urandom(777)),
        Sparse("one hole", size, 0, b""),
    ]
    with Server(room.work / "data") as server:
        for image in images:
            original = room.work / "image"
            _make(original, image)
            taken = original.stat().st_blocks * 512
            url = client.file_of(server.url, client.upload(server.url, original))
            done = _pipeline(url, original)
            detail = (f"{image.size} bytes, of which {taken / MB:.1f} MB take space", *done.stderr.splitlines())
            yield holds(f"curl | zstd -d | cmp, {image.name}", done.returncode == 0, detail)
            if image is images[0]:
                yield from _counterproofs(url, original, room.work)
            original.unlink()


def _make(path: Path, image: Sparse) -> None:
    with path.open("wb") as file:
        file.truncate(image.size)
        for number, data in enumerate(compressible(image.pieces * MIB, seed=5)):
            file.seek(number * EVERY + ODD)
            file.write(data)
        file.seek(image.size - len(image.tail))
        file.write(image.tail)


def _pipeline(url: str, original: Path) -> subprocess.CompletedProcess[str]:
    """Literally what a user types; any part that fails fails the whole."""
    line = f"curl -sSf -H {shlex.quote(_ZSTD)} {url} | zstd -d | cmp - {shlex.quote(str(original))}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False, timeout=600
    )


def _counterproofs(url: str, original: Path, work: Path) -> Generator[Figure, None, None]:
    """That the pipeline can fail at all, and that what travels is small."""
    other = work / "other"
    with original.open("rb") as source, other.open("wb") as target:
        target.write(source.read(ODD + 100))
    differs = _pipeline(url, other).returncode
    yield holds("the same pipeline refuses another file", differs != 0, (f"exit code {differs}",))
    wanted = ["curl", "-sSf", "-H", _ZSTD, "-o", "/dev/null", "-w", "%{size_download} %{content_type}", url]
    sent, kind = client.run(wanted).split()
    detail = (f"{int(sent)} bytes of {kind}", f"{original.stat().st_size} bytes of the image")
    yield told("what travels, of the image's size", f"{int(sent) / original.stat().st_size:.3f} times", detail)
