"""Random clients and keepers on one store while its processes are killed and frozen: no wrong byte, no lost image."""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

from bench.images import MIB
from bench.parts import parts_for
from bench.places import drystone
from bench.show import client
from bench.show.collection.space import AT_ONCE, collect, files_taken
from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from bench.storm.clients import OPERATIONS, Client, download, keep
from bench.storm.oracle import Oracle, Tally
from bench.storm.weather import Weather
from bench.storm.world import World

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Generator

CLIENTS: Final = 2
KEEPERS: Final = (("gc", "repair"), ("compact", "repair"), ("scrub", "repair"))
"""What each of them does by turns. Of two collections at once one is refused, which is counted as cut off."""
_LONG, _SHORT = (600.0, 100), (75.0, 20)  # seconds; how often each operation must have come to its end
_AT_MOST: Final = 2  # times as long, where a busy machine has not done all of it so often
_DISK: Final = 2 * MIB
_SETTINGS: Final = {"jobs": 1, "body_timeout": 30}
VERBS: Final[dict[str, tuple[str, ...]]] = {
    "gc": ("gc", *AT_ONCE, "--wait", "3"),
    "compact": ("gc", "--all", *AT_ONCE, "--wait", "3"),
    "scrub": ("scrub", "--rate", "10GiB"),
}


@check("collection", "storm", "Ten minutes of random clients with kill -9 and SIGSTOP: no wrong byte, no lost image.")
def storm(room: Room) -> Generator[Figure, None, None]:
    seconds, least = _SHORT if room.short else (whole / room.part.of for whole in _LONG)
    seed = room.part.number
    disk, data = room.work / "disk.img", room.work / "data"
    with parts_for(room).whole.open("rb") as source:
        disk.write_bytes(source.read(_DISK))
    oracle, tally, ended = Oracle(), Tally(), threading.Event()
    with World(data, _SETTINGS) as world:
        clients = [
            Client(number, seed, world, oracle, tally, disk, room.work / f"client-{number}")
            for number in range(CLIENTS)
        ]
        with Weather(world, seed) as weather, ThreadPoolExecutor(CLIENTS + len(KEEPERS)) as pool:
            running = [pool.submit(each.run, OPERATIONS, ended) for each in clients]
            verbs = VERBS | {"repair": ("repair", "--from", str(disk))}
            for number, theirs in enumerate(KEEPERS):
                dice, mine = random.Random(f"keeper {seed} {number}"), {name: verbs[name] for name in theirs}
                running.append(pool.submit(keep, mine, world, tally, dice, ended))
            names = (*(operation.name for operation in OPERATIONS), *verbs)
            started, lasted = time.monotonic(), 0.0
            while lasted < seconds * (1 if tally.fewest(names) >= least else _AT_MOST):
                if any(one.done() for one in running):
                    break
                time.sleep(0.5)
                lasted = time.monotonic() - started
            ended.set()
            for one in running:
                one.result()
        detail = (f"in {lasted:.0f} s", *_counted(weather.happened))
        yield told("what befell servers, worker and verbs", f"{weather.happened.total()}", detail)
        unlike = _look(world, oracle)
    clean = json.loads(client.run([*drystone(), "admin", "verify", "--read-data", "--data", str(data), "--json"]))
    for name in names:
        did = ", ".join(f"{what} {count}" for what, count in tally.work.get(name, {}).items())
        detail = (f"{tally.cut[name]} more were cut off", *_most(tally.why, f"{name}: "), *([did] if did else []))
        yield at_least(f"{name}: came to its end", tally.done[name], least, "times", detail)
    other = _most(tally.unexplained)
    yield at_most("failures that no kill or freeze explains", tally.unexplained.total(), 0, "failures", tuple(other))
    yield at_most("images that are not what was acknowledged", len(oracle.wrong), 0, "images", tuple(oracle.wrong[:10]))
    yield at_most("images that are lost", len(oracle.lost), 0, f"of {len(oracle.held)}", tuple(oracle.lost[:10]))
    yield holds("in the end the list has the images that must be there, and no other", not unlike, unlike[:10])
    yield holds("`admin verify --read-data` finds nothing wrong", bool(clean["clean"]))
    yield from _emptied(world, oracle)


def _look(world: World, oracle: Oracle) -> tuple[str, ...]:
    """Reads every image; what is in the list and not held, or the other way round."""
    url = world.urls()[0]
    listed: dict[str, str] = {}
    follows: str | None = "/v2/images?limit=100"
    while follows:
        page = client.call(f"{url}{follows}")
        listed |= {str(image["id"]): str(image["status"]) for image in page["images"]}
        follows = page.get("next")
    active = {image for image, status in listed.items() if status == "active"}
    for image in oracle.held - active:
        oracle.missed(image, listed.get(image, "not in the list"))
    held = sorted(oracle.held & active)
    with ThreadPoolExecutor(2) as pool:
        for image, digest in zip(held, pool.map(partial(download, url), held), strict=True):
            oracle.saw(image, digest, "download in the end")
    return tuple(f"{image} is {status}" for image, status in listed.items() if image not in oracle.held)


def _emptied(world: World, oracle: Oracle) -> Generator[Figure, None, None]:
    """With every image deleted, a collection leaves nothing: whatever was killed has left no garbage for ever."""
    with world:
        for image in oracle.held:
            client.delete(world.urls()[0], image)
    collect(world.data)
    left = {name: files_taken(world.data / name) for name in ("packs", "manifests", "journals")}
    detail = tuple(f"{name}: {size / 1e6:.2f} MB" for name, size in left.items())
    yield at_most("left when every image is deleted and collected", sum(left.values()) / 1e6, 0, "MB", detail)


def _most(reasons: Counter[str], begins: str = "") -> list[str]:
    return [f"{count} times {why}" for why, count in reasons.most_common() if why.startswith(begins)][:5]


def _counted(happened: dict[str, int]) -> tuple[str, ...]:
    return (", ".join(f"{count} times {what}" for what, count in sorted(happened.items())),)
