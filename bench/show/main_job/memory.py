"""Four uploads and four downloads at once stay within a bound of memory, and none fails."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import sink
from bench.harness import Ratio
from bench.images import compressible_image
from bench.limit import Probe, ingest_steps
from bench.places import ROOT
from bench.primitives import READ
from bench.show import client
from bench.show.registry import Figure, Room, at_most, check, holds, told
from bench.show.server import Memory, Server

if TYPE_CHECKING:
    from collections.abc import Generator

BOUND = 300 << 20
STREAMS = 4
_LONG, _SHORT = 4 << 30, 512 << 20
_IMAGES = [sys.executable, "-m", "bench.images"]


class Upload:
    """A compressible image made on the fly into curl's standard input."""

    def __init__(self, url: str, size: int, seed: int) -> None:
        self.image = client.create(url, f"compressible-{seed}")
        make = [*_IMAGES, "stream", "--size", str(size), "--seed", str(seed)]
        pipe = subprocess.PIPE
        self._source = subprocess.Popen(make, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
        command = client.put_command(url, self.image, "-")
        self._curl = subprocess.Popen(
            command, stdin=self._source.stdout, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )
        assert self._source.stdout is not None
        self._source.stdout.close()

    def finish(self) -> tuple[bool, str]:
        """Whether it went well, and the xxh3 of what was sent or what curl said."""
        said = self._curl.communicate()[0]
        assert self._source.stderr is not None
        digest = self._source.stderr.read()
        sent = self._source.wait() == 0
        well = self._curl.returncode == 0 and sent
        return well, digest if well else f"curl {self._curl.returncode}: {said} {digest}"


class Download:
    """An image by curl into a digest of it."""

    def __init__(self, url: str, image: str) -> None:
        pipe = subprocess.PIPE
        self._curl = subprocess.Popen(client.get_command(url, image, "-"), stdout=pipe, stderr=pipe, text=True)
        command = [*_IMAGES, "digest"]
        self._digest = subprocess.Popen(command, cwd=ROOT, stdin=self._curl.stdout, stdout=pipe, text=True)
        assert self._curl.stdout is not None
        self._curl.stdout.close()

    def finish(self) -> tuple[bool, str]:
        """Whether it went well, and the xxh3 of what came or what curl said."""
        digest = self._digest.communicate()[0].split()[0]
        assert self._curl.stderr is not None
        said = self._curl.stderr.read()
        well = self._curl.wait() == 0
        return well, digest if well else f"curl {self._curl.returncode}: {said}"


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of transfers at once came to."""

    seconds: float
    digests: dict[str, str]  # by image: what was sent
    failures: tuple[str, ...]
    peak: int
    samples: int


@check("main-job", "memory", "Four uploads and four downloads at once need less than 300 MiB, and none fails.")
def memory(room: Room) -> Generator[Figure, None, None]:
    size = _SHORT if room.short else _LONG
    mb = STREAMS * size / 1e6
    with Server(room.work / "data") as server:
        first = _together(server, size, range(STREAMS), {})
        yield told(f"{STREAMS} uploads of {size >> 20} MiB at once", f"{mb / first.seconds:.0f} MB/s", first.failures)
        yield _bounded("four uploads", first)
        second = _together(server, size, range(STREAMS, 2 * STREAMS), first.digests)
        both = f"{2 * mb / second.seconds:.0f} MB/s"
        yield told(f"{STREAMS} uploads and {STREAMS} downloads at once", both, ("both directions together",))
        yield _bounded("four uploads and four downloads", second)
        failures = first.failures + second.failures
        yield at_most("requests that failed or gave other bytes", len(failures), 0, "of 12", failures)
        active = [client.status(server.url, image) == "active" for image in first.digests | second.digests]
        yield holds("every uploaded image is active", len(active) == 2 * STREAMS and all(active))
    yield from _shares(room, mb, first, second)


def _together(server: Server, size: int, seeds: range, stored: dict[str, str]) -> Round:
    """Uploads new images, and downloads those that are stored, all at once."""
    with Memory(server.pid) as watch:
        started = time.perf_counter()
        downloads = {image: Download(server.url, image) for image in stored}
        uploads = [Upload(server.url, size, seed) for seed in seeds]
        sent = {upload.image: upload.finish() for upload in uploads}
        got = {image: download.finish() for image, download in downloads.items()}
        seconds = time.perf_counter() - started
    failures = [said for well, said in [*sent.values(), *got.values()] if not well]
    failures += [f"{image}: other bytes" for image, (well, digest) in got.items() if well and digest != stored[image]]
    digests = {image: said for image, (well, said) in sent.items() if well}
    return Round(seconds, digests, tuple(failures), watch.peak, len(watch.samples))


def _shares(room: Room, mb: float, first: Round, second: Round) -> Generator[Figure, None, None]:
    """The speeds against the machine's limit, of which the clients' making and checking of bytes is no part.

    Four streams have four hashes at work, so that CPU alone sets the limit here.
    """
    image = room.work / "sample"
    compressible_image(image, _SHORT // 2, seed=0)
    with sink.running() as (url, pid):
        up = Probe("upload", image, room.work, ingest_steps(hashes=True), None, url, pid)
        down = Probe("download", image, room.work, READ, None, url, pid)
        up.round()
        down.round()
    up_seconds, down_seconds = (probe.limit().shared / image.stat().st_size * 1e6 for probe in (up, down))
    uploads = Ratio("uploads", mb / first.seconds, 1 / up_seconds, "limit")
    both = Ratio("both", 2 * mb / second.seconds, 2 / (up_seconds + down_seconds), "limit")
    yield told("share of the limit, four uploads", f"{uploads.value:.2f}", (str(uploads),))
    yield told("share of the limit, four uploads and four downloads", f"{both.value:.2f}", (str(both),))


def _bounded(what: str, done: Round) -> Figure:
    detail = (f"the most of {done.samples} samples in {done.seconds:.0f} s",)
    return at_most(f"RssAnon + RssShmem during {what}", done.peak / (1 << 20), BOUND / (1 << 20), "MiB", detail)
