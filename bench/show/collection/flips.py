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
from bench.show.bound.small_store import RIGHT, WRONG, Held, flip, make, upload
from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from bench.show.server import Server, environment
from blockstore.bare_store import open_bare
from blockstore.manifest import SUFFIX
from catalog.sql.records import open_records
from catalog.usecases.administration import roots_of

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
    rounds = range(-(-count // at_once))[room.part.number - 1 :: room.part.of]
    seen, started = _Seen(), time.perf_counter()
    packs = files_of(held.data, "packs")
    live = _live(held.data)
    manifests = [path for path in files_of(held.data, "manifests") if path.suffix == SUFFIX and path.stem in live]
    places = choose(packs, manifests, count)
    for number in rounds:
        some = places[number * at_once : (number + 1) * at_once]
        # One copy of each manifest stays right: which one, by turns.
        _Round(
            held, room.work / f"round-{number}", [_second(place) for place in some] if number % 2 else some, seen
        ).run()
    seconds = time.perf_counter() - started
    count = seen.flips.total()
    by_kind = ", ".join(f"{number} in {what}" for what, number in seen.flips.items())
    yield told(f"bit flips, {at_once} at a time", f"{count} flips", (by_kind, f"{seconds:.0f} s"))
    yield at_least("found by a scrub", count - len(seen.missed), count, f"of {count}", tuple(seen.missed[:20]))
    reads = ", ".join(f"{number} {what}" for what, number in seen.reads.items())
    yield at_most("images served with wrong bytes", len(seen.wrong), 0, "images", (reads, *seen.wrong[:20]))
    yield at_most("manifests' copies not as before after it", len(seen.unmended), 0, "files", tuple(seen.unmended[:20]))
    yield at_most("harmed images that it does not name", len(seen.unnamed), 0, "images", tuple(seen.unnamed[:20]))
    detail = (
        f"{seen.healed} were healed by the scrub itself, from another place, and {seen.bad} were left bad",
        f"{seen.uploaded} of these by an upload of the same bytes, the others by `admin repair --from` the file",
    )
    yield at_most("bad blocks after upload and repair from the files", seen.left, 0, "blocks", detail)
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
    uploaded: int = 0
    left: int = 0


class _Round:
    """Some flips at once in a copy: read, scrub, read, upload again, repair from the files, scrub, read."""

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
        # A server that has met damage has it mended soon, so it is gone before the scrub begins.
        with Server(self._data) as server:
            self._read(server, "with the flips")
        found = self._scrub()
        self._compare(found, before)
        harmed = {image["id"] for image in found["harmed"]}
        self._seen.healed += found["healed"]
        self._seen.bad += len(found["bad_blocks"])
        with Server(self._data) as server:
            self._seen.unnamed += [str(image) for image in self._read(server, "after the scrub") - harmed]
            for file in self._held.originals.values():
                upload(server, file)
            self._repair(harmed, len(found["bad_blocks"]))
            self._seen.left += len(self._scrub()["bad_blocks"])
            self._seen.still_wrong += sorted(self._read(server, "in the end"))
        shutil.rmtree(self._data)

    def _repair(self, harmed: set[str], bad: int) -> None:
        """What no upload has healed, because it is cut otherwise now, is given the file."""
        left = bad
        files = [file for image, file in self._held.originals.items() if image in harmed]
        # The finely cut one first: no upload heals that.
        for file in sorted(files, key=lambda each: each.name != "fine"):
            done = self._admin("repair", "--from", str(file))
            left = min(left, done["healed"] + done["left"])
            if not done["harmed"]:
                break
        self._seen.uploaded += bad - left

    def _compare(self, found: dict[str, Any], before: dict[Path, bytes]) -> None:
        where = [(each["file"], each["begins"], each["ends"]) for each in found["findings"]]
        for place in self._places:
            mine = [(begins, ends) for file, begins, ends in where if file == str(place.path)]
            if not any(not ends or begins <= place.byte < ends for begins, ends in mine):
                self._seen.missed.append(str(place))
        for path, data in before.items():
            if path.parent.parent.name == "manifests" and path.read_bytes() != data:
                self._seen.unmended.append(str(path))

    def _read(self, server: Server, when: str) -> set[str]:
        """The images that are not served whole; none may be served wrong."""
        broken = set()
        for image, file in self._held.originals.items():
            came = served(server.url, image, file.read_bytes())
            self._seen.reads[f"{came} {when}"] += 1
            if came == WRONG:
                self._seen.wrong.append(f"{image} {when}")
            if came != RIGHT:
                broken.add(image)
        return broken

    def _scrub(self) -> dict[str, Any]:
        return self._admin("scrub", "--rate", "10GiB")

    def _admin(self, verb: str, *options: str) -> dict[str, Any]:
        command = [*drystone(), "admin", verb, "--data", str(self._data), "--json", "--quiet", *options]
        done = subprocess.run(command, env=environment({}), capture_output=True, text=True, check=False)
        if done.returncode not in {0, 1}:
            raise RuntimeError(f"exit code {done.returncode}: {done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def _live(data: Path) -> set[str]:
    """The manifests that somebody may read: of images, of what these stand on, and of deleted ones while they are kept.

    A retired one is never read again, neither by a download nor by a scrub: the next collection removes it.
    """
    with open_records(data / "catalog.sqlite") as records:
        return set(records.read(roots_of).live)


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
