"""Delta uploads whose journal has lost what was acknowledged: they are refused, and only a torn tail is cut off."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from blockstore import clock
from blockstore.errors import Damaged, JournalDamaged
from blockstore.garbage import Collecting
from blockstore.journal import HEADER_SIZE, RECORD_SIZE
from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.usecases import administration, delta_commit, deltas
from tests.catalog.delta_scenes import BLOCK, DATA, begun, parts, send, served
from tests.kit.filled_store import flip, looked_after
from tests.kit.image_service import CALLER

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

    from catalog.delta_ports import Part
    from catalog.model.manifest import StoredManifest
    from catalog.usecases.deltas import Named
    from catalog.usecases.services import Services


async def half_sent(root: Path) -> Named:
    """An upload of twenty blocks that a process has acknowledged ten of, in two requests."""
    with served(root) as (service, services, _):
        named = await begun(services, await service.new())
        for first in (0, 5):
            await send(services, named, *((n, DATA[n * BLOCK : (n + 1) * BLOCK]) for n in range(first, first + 5)))
        return named


def journal_of(root: Path) -> Path:
    [path] = (root / "journals").iterdir()
    return path


def rot(path: Path, record: int) -> bytes:
    """Turn a bit in the middle of a record; what the file was."""
    whole = path.read_bytes()
    flip(path, (HEADER_SIZE + record * RECORD_SIZE + 20) * 8)
    return whole


async def no_parts() -> AsyncGenerator[Part, None]:
    return
    yield


ASKED: dict[str, Callable[[Services, Named], Awaitable[object]]] = {
    "send": lambda services, named: send(services, named, (15, b"x" * BLOCK)),
    "nothing": lambda services, named: deltas.take(services, named, lambda _: no_parts()),
    "show": lambda services, named: deltas.show(services, named, start=0, most=10),
    "commit": lambda services, named: delta_commit.commit(services, named, expected=None),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("record", [0, 4, 9])
def test_rot_in_what_was_acknowledged_is_no_torn_tail(tmp_path: Path, asked: str, record: int) -> None:
    async def scenario() -> None:
        named = await half_sent(tmp_path)
        path = journal_of(tmp_path)
        whole = rot(path, record)
        rotten = path.read_bytes()
        with served(tmp_path) as (service, services, _):
            for _ in range(2):
                with pytest.raises(JournalDamaged, match=f"{record} of the 10 .* give this upload up"):
                    await ASKED[asked](services, named)
            assert path.read_bytes() == rotten
            path.write_bytes(whole)
            await ASKED["show"](services, named)
            rot(path, record)
            await deltas.give_up(services, named)
            again = await begun(services, named.image_id)
            await send(services, again, (0, DATA[:BLOCK]))
            await delta_commit.commit(services, again, expected=1)
            assert await service.get(named.image_id) == DATA[:BLOCK] + bytes(19 * BLOCK)

    asyncio.run(scenario())


@pytest.mark.parametrize("lost", [1, RECORD_SIZE, 10 * RECORD_SIZE + 1])
def test_a_journal_that_was_cut_short_is_damaged(tmp_path: Path, lost: int) -> None:
    async def scenario() -> None:
        named = await half_sent(tmp_path)
        path = journal_of(tmp_path)
        os.truncate(path, path.stat().st_size - lost)
        with served(tmp_path) as (_, services, _):
            for ask in ASKED.values():
                with pytest.raises(JournalDamaged, match="give this upload up"):
                    await ask(services, named)
        assert path.stat().st_size == HEADER_SIZE + 10 * RECORD_SIZE - lost

    asyncio.run(scenario())


def test_rot_in_what_a_process_remembers_never_becomes_an_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            named = await begun(services, await service.new())
            await send(services, named, *((n, DATA[n * BLOCK : (n + 1) * BLOCK]) for n in range(10)))
            rot(journal_of(tmp_path), 4)
            with pytest.raises(JournalDamaged, match="give this upload up"):
                await send(services, named, (4, DATA[4 * BLOCK : 5 * BLOCK]))
            with pytest.raises(JournalDamaged, match="give this upload up"):
                await delta_commit.commit(services, named, expected=10)
            assert not list((tmp_path / "manifests").rglob("*.manifest"))

    asyncio.run(scenario())


def test_what_was_told_to_have_arrived_counts_as_acknowledged(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            named = await begun(services, await service.new())
            [delta] = await deltas.of_image(services, CALLER, named.image_id)

            async def locate(_: str) -> Sequence[StoredManifest]:
                return ()

            # A request whose process died before it could answer.
            await services.blocks.deltas.take(delta, parts((0, b"x" * BLOCK)), locate)
            _, found = await deltas.show(services, named, start=0, most=1)
            assert found.blocks == 1
        rot(journal_of(tmp_path), 0)
        with served(tmp_path) as (_, services, _), pytest.raises(JournalDamaged):
            await delta_commit.commit(services, named, expected=None)

    asyncio.run(scenario())


def collected(root: Path) -> None:
    with looked_after(root, exclusive=True) as (store, records):
        administration.collect(store, records, Collecting(share=0), Silent(), at=clock.now())


@pytest.mark.parametrize("how", ["rot", "header", "short", "gone"])
def test_a_collection_refuses_a_journal_that_lost_what_was_acknowledged(tmp_path: Path, how: str) -> None:
    named = asyncio.run(half_sent(tmp_path))
    path = journal_of(tmp_path)
    whole = path.read_bytes()
    damage: dict[str, Callable[[], object]] = {
        "rot": lambda: rot(path, 4),
        "header": lambda: flip(path, 8),
        "short": lambda: os.truncate(path, 10),
        "gone": path.unlink,
    }
    damage[how]()
    packs = {each: each.read_bytes() for each in (tmp_path / "packs").rglob("*.zst")}
    with pytest.raises(Damaged, match=f"delta upload {named.upload_id} of image {named.image_id}.*[dD]elete"):
        collected(tmp_path)
    assert {each: each.read_bytes() for each in (tmp_path / "packs").rglob("*.zst")} == packs
    with looked_after(tmp_path) as (store, records):
        assert store.index.size().rows == 10
        found = administration.verify_all(store, records, Wanted(), Silent()).verified.findings
        assert [each.file for each in found] == [str(path)]
        assert named.image_id in found[0].what
    path.write_bytes(whole)
    collected(tmp_path)
    damage[how]()

    async def given_up() -> None:
        with served(tmp_path) as (service, _, _):
            await service.delete(named.image_id)

    asyncio.run(given_up())
    collected(tmp_path)
    with looked_after(tmp_path) as (store, _):
        assert store.index.size().rows == 0


def test_a_torn_tail_harms_nobody(tmp_path: Path) -> None:
    async def rest(named: Named) -> None:
        with served(tmp_path) as (service, services, _):
            await send(services, named, (10, b"x" * BLOCK))
            await delta_commit.commit(services, named, expected=11)
            assert await service.get(named.image_id) == DATA[: 10 * BLOCK] + b"x" * BLOCK + bytes(9 * BLOCK)

    named = asyncio.run(half_sent(tmp_path))
    with journal_of(tmp_path).open("ab") as file:
        file.write(b"\x07" * 100)
    collected(tmp_path)
    with looked_after(tmp_path) as (store, records):
        assert administration.verify_all(store, records, Wanted(), Silent()).verified.clean
        assert administration.stats(store, records, Silent(), garbage=True).store.garbage
    asyncio.run(rest(named))
