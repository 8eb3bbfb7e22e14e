"""Random bit flips in the index, which has no sums of its own: right bytes, or a message that says what to do."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.places import drystone
from bench.show import client
from bench.show.bound.small_store import RIGHT, WRONG, Held, flip, make, outcome
from bench.show.registry import Figure, Room, at_least, at_most, check, holds
from blockstore import places as places_file
from blockstore.data_dir import DataDir
from blockstore.disk import Disk
from blockstore.errors import BlockstoreError
from blockstore.index.rebuild import Rebuilding, rebuild
from blockstore.progress import Silent
from blockstore.store import BlockStore

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from multiprocessing.connection import Connection
    from pathlib import Path

BITS: Final = 250
ROUNDS, ROUNDS_IN_SHORT = 84, 6
BY_PROGRAM: Final = 3  # rounds whose new index is made by the program; the others' by what it calls
_TOGETHER: Final = 5  # bits at most that are flipped at a time; each round has one more than the one before
_ADVICE: Final = "rebuild-index"
_PATIENCE: Final = 60.0
_REFUSED: Final = "the start"
"""Stands for an image where the store was not opened at all."""

Outcomes = dict[str, str]
"""What reading gave, by image: RIGHT, WRONG, or the message; or one message for `_REFUSED`."""


@dataclass(slots=True)
class Tally:
    """What came of the rounds so far: how many of each kind, and what was not as it should be."""

    rounds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    without_advice: list[str] = field(default_factory=list)
    silent_crashes: list[str] = field(default_factory=list)
    not_rebuilt: list[str] = field(default_factory=list)


@check(
    "bound", "index-flips", "Flips in the index: right bytes or `rebuild-index` is advised, and all is right after it."
)
def index_flips(room: Room) -> Generator[Figure, None, None]:
    held = make(room.work)
    rounds = ROUNDS_IN_SHORT if room.short else ROUNDS
    index = held.data / "index" / "data.mdb"
    yield holds("without a flip every image reads right", set(_read(held.data, held).values()) == {RIGHT})
    dice, tally, bits = random.Random(7), Tally(), 0
    started = time.perf_counter()
    for number in range(rounds):
        copy = shutil.copytree(held.data, room.work / "copy")
        places = [(dice.randrange(index.stat().st_size), dice.randrange(8)) for _ in range(1 + number % _TOGETHER)]
        for byte, bit in places:
            flip(copy / "index" / "data.mdb", byte, bit)
        bits += len(places)
        where = f"bits {places}"
        if number % 2:
            # Beside a manifest lies where its blocks are, so that reads need no index: disposable, and gone now.
            where += ", no sidecars"
            for sidecar in (copy / "manifests").rglob(f"*{places_file.SUFFIX}"):
                sidecar.unlink()
        _round(tally, copy, held, where, by_program=number < BY_PROGRAM)
        shutil.rmtree(copy)
    detail = (
        f"in {rounds} rounds of one to {_TOGETHER}, {time.perf_counter() - started:.0f} s",
        f"the index has {index.stat().st_size} bytes; in every other round the manifests' sidecars were removed",
        *(f"{count} rounds: {what}" for what, count in tally.rounds.most_common()),
    )
    yield at_least("bits flipped in the index", bits, 2 * rounds if room.short else BITS, "bits", detail)
    yield _none("images served with wrong bytes", tally.wrong)
    yield _none("failures that don't say `rebuild-index`", tally.without_advice)
    yield _none("crashes after which the next start doesn't say so", tally.silent_crashes)
    yield _none("rounds after whose rebuild-index an image reads otherwise", tally.not_rebuilt)


def _none(what: str, found: list[str]) -> Figure:
    return at_most(what, len(found), 0, "times", tuple(found[:10]))


def _round(tally: Tally, data: Path, held: Held, where: str, *, by_program: bool) -> None:
    """A start on flipped pages, reads of every image, a new index, and the reads again."""
    try:
        outcomes = _read(data, held)
    except Crashed as crash:
        tally.rounds[str(crash)] += 1
        again = _again(data, held)
        if _ADVICE not in again:
            tally.silent_crashes.append(f"{where}: {crash}, then {again}")
    else:
        _tell(tally, outcomes, where)
    try:
        _rebuild(data, by_program=by_program)
        after = _read(data, held)
    except (Crashed, RuntimeError) as error:
        after = {"rebuild-index": str(error)}
    if set(after.values()) != {RIGHT}:
        failed = [f"{image}: {came}" for image, came in after.items() if came != RIGHT]
        tally.not_rebuilt.append(f"{where}: {'; '.join(failed)}")


def _tell(tally: Tally, outcomes: Outcomes, where: str) -> None:
    failures = {image: came for image, came in outcomes.items() if came not in {RIGHT, WRONG}}
    if _REFUSED in failures:
        kind = "refused at the start"
    else:
        kind = "some images are refused" if failures else "every image reads right"
    tally.rounds[kind] += 1
    tally.wrong += [f"{where}: {image}" for image, came in outcomes.items() if came == WRONG]
    tally.without_advice += [f"{where}: {image}: {came}" for image, came in failures.items() if _ADVICE not in came]


def _again(data: Path, held: Held) -> str:
    try:
        return _read(data, held).get(_REFUSED, "it started")
    except Crashed as crash:
        return str(crash)


def _read(data: Path, held: Held) -> Outcomes:
    """Every image, as a server that starts on the data would read it; raises Crashed."""
    originals = {image: (held.chains[image], path) for image, path in held.originals.items()}
    return apart(_read_here, data, originals)


def _rebuild(data: Path, *, by_program: bool) -> None:
    if by_program:
        client.run([*drystone(), "admin", "rebuild-index", "--data", str(data)])
    else:
        apart(_rebuild_here, data)


def _read_here(data: Path, originals: Mapping[str, tuple[list[tuple[str, bytes]], Path]]) -> Outcomes:
    try:
        store = BlockStore.open(data)
    except BlockstoreError as error:
        return {_REFUSED: str(error)}
    outcomes = {}
    for image, (chain, original) in originals.items():
        try:
            reader = store.reader(chain)
        except BlockstoreError as error:
            outcomes[image] = str(error)
            continue
        outcomes[image] = outcome(reader, original.read_bytes())
        reader.close()
    store.close()
    return outcomes


def _rebuild_here(data: Path) -> Outcomes:
    opened = DataDir.open_made(data, Disk(), purpose="the show", exclusive=True)
    try:
        rebuild(opened, Rebuilding(), Silent())
    finally:
        opened.close()
    return {}


class Crashed(Exception):
    """A process ended by a signal, with an error, or not at all."""


def apart(task: Callable[..., Outcomes], *arguments: object) -> Outcomes:
    """Runs the task in a process of its own, which a wrong page may kill; raises Crashed.

    What the process says goes to a file beside the first argument, a path.
    """
    context = multiprocessing.get_context("forkserver")
    # Loaded once, so that a process starts in no time.
    context.set_forkserver_preload([__name__])
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sending, f"{arguments[0]}.log", task, arguments))
    process.start()
    sending.close()
    came: Outcomes | None = None
    try:
        if receiving.poll(_PATIENCE):
            came = receiving.recv()
    except EOFError:
        pass
    finally:
        receiving.close()
        process.join(5)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise Crashed(f"it stood still for {_PATIENCE:g} s")
    if came is None or process.exitcode:
        raise Crashed(f"it ended with exit code {process.exitcode}")
    return came


def _run(sending: Connection, log: str, task: Callable[..., Outcomes], arguments: tuple[object, ...]) -> None:
    with open(log, "ab") as said:  # noqa: PTH123 - its descriptor is all that is wanted
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    sending.send(task(*arguments))
