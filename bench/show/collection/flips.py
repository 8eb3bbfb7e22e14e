"""A thousand flipped bits in packs and manifests: a scrub finds all, mends what it can, names whom the rest harms."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bench.places import drystone
from bench.show import client
from bench.show.bound.damage import Place, choose, files_of, served
from bench.show.bound.small_store import FINELY, RIGHT, WRONG, Held, flip, make, upload
from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from bench.show.server import Server, environment
from blockstore.bare_store import open_bare
from blockstore.manifest import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

_LONG, _SHORT = (1000, 40), (60, 30)  # flips, and how many of them at once
_SECOND: Final = ".second"  # the copy of a manifest beside it
_TWICE: Final = "text"
"""The image whose blocks lie in two packs, as two servers at once leave them."""


@check(
    "collection", "flips", "1,000 flipped bits in packs and manifests: all found, none served, what can be is healed."
)
def flips(room: Room) -> Generator[Figure, None, None]:
    held = make(room.work)
    _store_again(held)
    count, at_once = _SHORT if room.short else _LONG
    seen, started = _Seen(), time.perf_counter()
    packs = files_of(held.data, "packs")
    manifests = [path for path in files_of(held.data, "manifests") if path.suffix == SUFFIX]
    places = choose(packs, manifests, count)
    for number, first in enumerate(range(0, count, at_once)):
        some = places[first : first + at_once]
        # One copy of each manifest stays right: which one, by turns.
        _Round(
            held, room.work / f"round-{number}", [_second(place) for place in some] if number % 2 else some, seen
        ).run()
    seconds = time.perf_counter() - started
    by_kind = ", ".join(f"{number} in {what}" for what, number in seen.flips.items())
    yield told(f"bit flips, {at_once} at a time", f"{count} flips", (by_kind, f"{seconds:.0f} s"))
    yield at_least("found by a scrub", count - len(seen.missed), count, f"of {count}", tuple(seen.missed[:20]))
    reads = ", ".join(f"{number} {what}" for what, number in seen.reads.items())
    yield at_most("images served with wrong bytes", len(seen.wrong), 0, "images", (reads, *seen.wrong[:20]))
    yield at_most("manifests' copies not as before after it", len(seen.unmended), 0, "files", tuple(seen.unmended[:20]))
    yield at_most("harmed images that it does not name", len(seen.unnamed), 0, "images", tuple(seen.unnamed[:20]))
    detail = (f"{seen.healed} were healed by the scrub itself, from another place; {seen.bad} were left bad",)
    yield at_most("bad blocks after an upload of the same bytes", seen.left, 0, "blocks", detail)
    yield holds("and then every image is right", not seen.still_wrong, tuple(seen.still_wrong[:20]))


@dataclass(slots=True)
class _Seen:
    flips: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unmended: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    still_wrong: list[str] = field(default_factory=list)
    healed: int = 0
    bad: int = 0
    left: int = 0


class _Round:
    """Some flips at once in a copy: read, scrub, upload again, scrub, read."""

    def __init__(self, held: Held, data: Path, places: Sequence[Place], seen: _Seen) -> None:
        shutil.copytree(held.data, data)
        self._held, self._data, self._seen = held, data, seen
        self._places = [Place(data / place.path.relative_to(held.data), place.byte, place.bit) for place in places]

    def run(self) -> None:
        """The copy is gone afterwards."""
        before = {place.path: place.path.read_bytes() for place in self._places}
        for place in self._places:
            flip(place.path, place.byte, place.bit)
            self._seen.flips[place.path.parent.parent.name] += 1
        self._read("with the flips")
        found = self._scrub()
        self._compare(found, before)
        harmed = {image["id"] for image in found["harmed"]}
        self._seen.unnamed += [str(image) for image in self._read("after the scrub") - harmed]
        self._seen.healed += found["healed"]
        self._seen.bad += len(found["bad_blocks"])
        for finely in (True, False):
            with Server(self._data, settings=FINELY if finely else {}) as server:
                for file in self._held.originals.values():
                    if (file.name == "fine") is finely:
                        upload(server, file)
        self._seen.left += len(self._scrub()["bad_blocks"])
        self._seen.still_wrong += sorted(self._read("in the end"))
        shutil.rmtree(self._data)

    def _compare(self, found: dict[str, Any], before: dict[Path, bytes]) -> None:
        where = [(each["file"], each["begins"], each["ends"]) for each in found["findings"]]
        for place in self._places:
            mine = [(begins, ends) for file, begins, ends in where if file == str(place.path)]
            if not any(not ends or begins <= place.byte < ends for begins, ends in mine):
                self._seen.missed.append(str(place))
        for path, data in before.items():
            if path.parent.parent.name == "manifests" and path.read_bytes() != data:
                self._seen.unmended.append(str(path))

    def _read(self, when: str) -> set[str]:
        """The images that are not served whole; none may be served wrong."""
        broken = set()
        with Server(self._data) as server:
            for image, file in self._held.originals.items():
                came = served(server.url, image, file.read_bytes())
                self._seen.reads[f"{came} {when}"] += 1
                if came == WRONG:
                    self._seen.wrong.append(f"{image} {when}")
                if came != RIGHT:
                    broken.add(image)
        return broken

    def _scrub(self) -> dict[str, Any]:
        command = [*drystone(), "admin", "scrub", "--data", str(self._data), "--json", "--rate", "10GiB"]
        done = subprocess.run(command, env=environment({}), capture_output=True, text=True, check=False)
        if done.returncode not in {0, 1}:
            raise RuntimeError(f"exit code {done.returncode}: {done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def _second(place: Place) -> Place:
    return replace(place, path=place.path.with_suffix(_SECOND)) if place.path.suffix == SUFFIX else place


def _store_again(held: Held) -> None:
    """One image's blocks are stored a second time, in another pack; rows name the new ones."""
    with open_bare(held.data, "the show", exclusive=True) as store:
        for digest, place in list(store.index.scan()):
            store.index.mark_bad(digest, place)
    with Server(held.data) as server:
        for file in held.originals.values():
            if file.name == _TWICE:
                client.delete(server.url, client.upload(server.url, file))
    with open_bare(held.data, "the show", exclusive=True) as store:
        for digest in store.index.bad_among([digest for digest, _ in store.index.scan()]):
            [found] = store.index.get_many([digest], hidden=True)
            assert found is not None
            store.index.move_many({digest: (found, found)})
