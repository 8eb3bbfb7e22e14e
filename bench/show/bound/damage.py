"""Random bit flips in packs and manifests: `verify` finds each of them, and none is ever served."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bench.places import drystone
from bench.show import client
from bench.show.bound.small_store import RIGHT, WRONG, Held, flip, make, outcome
from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from bench.show.server import Server, environment
from blockstore import places as places_file
from blockstore.bare_store import BareStore, open_bare
from blockstore.errors import BlockstoreError
from blockstore.manifest import open_chain
from blockstore.manifest_reader import ManifestReader
from blockstore.progress import Silent
from blockstore.roots import path_of
from blockstore.verify import Wanted
from catalog.sql.records import open_records
from catalog.usecases.administration import Verification, verify_all

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from bench.in_process import Chain
    from catalog.inventory import Records

FLIPS, FLIPS_IN_SHORT = 500, 36
BY_PROGRAM, BY_PROGRAM_IN_SHORT = 20, 3
_EDGE: Final = 2048
"""Bytes at a pack's beginning and end where headers, the table and the trailer are: few, so they are aimed at."""


@dataclass(frozen=True, slots=True)
class Place:
    """One bit of a file."""

    path: Path
    byte: int
    bit: int

    def __str__(self) -> str:
        return f"{self.path.parent.parent.name}/{self.path.name} byte {self.byte} bit {self.bit}"


@dataclass(slots=True)
class Tally:
    """What came of the flips so far."""

    flips: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    served_wrong: list[str] = field(default_factory=list)
    reads: Counter[str] = field(default_factory=Counter)

    def read(self, place: Place, image: str, came: str) -> None:
        """An image was read while that bit was over."""
        self.reads[came if came in {RIGHT, WRONG} else "refused"] += 1
        if came == WRONG:
            self.served_wrong.append(f"{image} with {place}")


@check(
    "bound", "verify", "`verify` of the data finds each of 500 random bit flips in packs and manifests; none is served."
)
def verify(room: Room) -> Generator[Figure, None, None]:
    held = make(room.work)
    count, by_program = (FLIPS_IN_SHORT, BY_PROGRAM_IN_SHORT) if room.short else (FLIPS, BY_PROGRAM)
    packs, manifests = files_of(held.data, "packs"), files_of(held.data, "manifests")
    places = choose(packs, manifests, count)
    started = time.perf_counter()
    tally, clean = _in_process(held, places)
    seconds = time.perf_counter() - started
    size = sum(path.stat().st_size for path in packs) / 1e6
    detail = (
        ", ".join(f"{number} in {what}" for what, number in tally.flips.items()),
        f"{size:.1f} MB in {len(packs)} packs, {len(manifests)} manifests",
        f"{seconds:.1f} s in one process, each flip with a whole verification and a read of every image",
    )
    yield told("bit flips, one at a time", f"{count} flips", detail)
    yield from _figures(tally, count)
    yield holds("without a flip it finds nothing, before and after", clean)

    if sidecars := files_of(held.data, "manifests", sidecars=True):
        tally, _ = _in_process(held, choose(sidecars, sidecars, by_program, seed=3))
        lost = tally.reads.total() - tally.reads[RIGHT]
        many = f"{by_program} flips, {tally.reads.total()} reads"
        yield at_most("reads that suffer from a flip in a manifest's sidecar", lost, 0, "reads", (many,))

    tally, wrong_codes = _by_program(held, choose(packs, manifests, by_program, seed=2))
    yield told("the same by `drystone admin verify`, beside a server", f"{by_program} flips")
    yield from _figures(tally, by_program)
    yield at_most("exit codes other than 1", len(wrong_codes), 0, "codes", tuple(wrong_codes))


def _figures(tally: Tally, count: int) -> Generator[Figure, None, None]:
    found = count - len(tally.missed)
    yield at_least("flips found", found, count, f"of {count}", tuple(tally.missed[:20]))
    named = count - len(tally.unnamed)
    yield at_least("findings that name the file", named, count, f"of {count}", tuple(tally.unnamed[:20]))
    reads = ", ".join(f"{number} {what}" for what, number in tally.reads.items())
    detail = (f"reads of images: {reads}", *tally.served_wrong[:20])
    yield at_most("images served with wrong bytes", len(tally.served_wrong), 0, "images", detail)


def files_of(data: Path, kind: str, *, sidecars: bool = False) -> list[Path]:
    """The packs, the manifests, or with `sidecars` what lies beside these: disposable, and no manifests."""
    files = sorted(path for path in (data / kind).rglob("*") if path.is_file())
    return [path for path in files if (kind == "manifests" and path.suffix == places_file.SUFFIX) is sidecars]


def choose(packs: Sequence[Path], manifests: Sequence[Path], count: int, seed: int = 1) -> list[Place]:
    """A third anywhere in packs, a third near their ends, a third anywhere in manifests; none twice."""
    dice = random.Random(seed)
    # A byte of a long file is as likely as one of a short one.
    chosen: dict[tuple[Path, int], Place] = {}
    while len(chosen) < count:
        kind = len(chosen) % 3
        files = manifests if kind == 2 else packs
        [path] = dice.choices(files, weights=[1 if kind == 1 else file.stat().st_size for file in files])
        size = path.stat().st_size
        near = dice.randrange(min(_EDGE, size))
        byte = dice.randrange(size) if kind != 1 else dice.choice((near, size - 1 - near))
        chosen.setdefault((path, byte), Place(path, byte, dice.randrange(8)))
    return list(chosen.values())


@contextlib.contextmanager
def _flipped(place: Place) -> Generator[None, None, None]:
    flip(place.path, place.byte, place.bit)
    try:
        yield
    finally:
        flip(place.path, place.byte, place.bit)


def _in_process(held: Held, places: Sequence[Place]) -> tuple[Tally, bool]:
    """Each flip with a store that stays open, which opens every file anew; and whether all was well without flips."""
    originals = {image: path.read_bytes() for image, path in held.originals.items()}
    tally = Tally()
    with (
        open_bare(held.data, "the show", exclusive=False) as store,
        open_records(held.data / "catalog.sqlite") as records,
    ):
        before = _verified(store, records)
        for place in places:
            tally.flips[place.path.parent.parent.name] += 1
            with _flipped(place):
                files = {finding.file for finding in _verified(store, records).verified.findings}
                _tell(tally, place, files)
                for image, chain in held.chains.items():
                    tally.read(place, held.originals[image].name, _read(store, chain, originals[image]))
        after = _verified(store, records)
    return tally, before.verified.clean and after.verified.clean


def _tell(tally: Tally, place: Place, files: set[str]) -> None:
    if not files:
        tally.missed.append(str(place))
    if str(place.path) not in files:
        tally.unnamed.append(f"{place}: {', '.join(sorted(files)) or 'nothing'}")


def _verified(store: BareStore, records: Records) -> Verification:
    return verify_all(store, records, Wanted(data=True, mark=False), Silent())


def _read(store: BareStore, chain: Chain, original: bytes) -> str:
    """As a server reads: the manifests are opened anew, nothing is kept of what was read before."""
    try:
        opened = open_chain([(path_of(store.root, name), digest) for name, digest in chain])
    except BlockstoreError as error:
        return f"{type(error).__name__}: {error}"
    reader = ManifestReader(opened, store.index, store.packs, lambda *_: None, lambda *_: None)
    try:
        return outcome(reader, original)
    finally:
        reader.close()


def _by_program(held: Held, places: Sequence[Place]) -> tuple[Tally, list[str]]:
    """Each flip as an operator finds it, beside a server that is asked for every image; exit codes that aren't 1."""
    tally, codes = Tally(), []
    verify_data = [*drystone(), "admin", "verify", "--data", str(held.data), "--read-data", "--dry-run", "--json"]
    with Server(held.data) as server:
        for place in places:
            with _flipped(place):
                done = subprocess.run(verify_data, env=environment({}), capture_output=True, text=True, check=False)
                if done.returncode != 1:
                    codes.append(f"{done.returncode} with {place}: {done.stderr}")
                findings = json.loads(done.stdout)["findings"] if done.stdout else []
                _tell(tally, place, {finding["file"] for finding in findings})
                for image, original in held.originals.items():
                    tally.read(place, original.name, served(server.url, image, original.read_bytes()))
    return tally, codes


def served(url: str, image: str, original: bytes) -> str:
    """What a download gives; one that is cut off is refused, but what came before must be right."""
    place = urlsplit(client.file_of(url, image))
    assert place.hostname is not None
    with contextlib.closing(http.client.HTTPConnection(place.hostname, place.port, timeout=60)) as connection:
        connection.request("GET", place.path)
        answer = connection.getresponse()
        try:
            body, whole = answer.read(), True
        except http.client.IncompleteRead as error:
            body, whole = error.partial, False
    if answer.status != http.client.OK:
        return f"status {answer.status}"
    if whole:
        return RIGHT if body == original else WRONG
    return "cut off" if original.startswith(body) else WRONG
