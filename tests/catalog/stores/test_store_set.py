"""The set of stores: order, preference, and places that are set aside until they are well again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from catalog.model.location import LOST, Location
from catalog.store_ports import StoreInfo
from catalog.stores import set as store_set
from catalog.stores.health import LONGEST_PAUSE, SHORTEST_PAUSE, Health
from catalog.stores.http import HttpStore
from catalog.stores.opaque import OpaqueStore
from catalog.stores.outgoing.outgoing import Outgoing
from catalog.stores.set import StoreSet, blocks_alone
from tests.kit.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from catalog.store_ports import Store


class Seconds:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at(store: str, *, status: str = "active", url: str | None = None) -> Location:
    manifest = "m" if store == "blocks" else None
    return Location(url or f"memory://{store}/x", store, manifest=manifest, status=status)


def names(locations: Sequence[Location]) -> list[str]:
    return [location.store for location in locations]


async def until(comes_true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if comes_true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def fast() -> MemoryStore:
    return MemoryStore("fast", weight=10)


@pytest.fixture
def stores(fast: MemoryStore, clock: Seconds) -> StoreSet:
    ceph = OpaqueStore(StoreInfo("ceph", "opaque"), {"rbd"})
    others: list[Store] = [MemoryStore("deep"), MemoryStore("shelf", weight=-5), ceph]
    return StoreSet([fast, *others], now=clock)


def test_without_configuration_there_are_blocks_alone() -> None:
    alone = blocks_alone()
    assert not alone.several
    assert [info.name for info in alone.infos()] == ["blocks"]
    assert alone.default == "blocks"
    assert alone.get("blocks") is None
    assert alone.of_url("blocks://5/m") is None
    assert names(alone.to_try([at("blocks")])) == ["blocks"]


def test_stores_are_found_by_name_and_by_url(stores: StoreSet, fast: MemoryStore) -> None:
    assert stores.several
    assert [info.name for info in stores.infos()] == ["fast", "blocks", "ceph", "deep", "shelf"]
    assert stores.get("fast") is fast
    assert stores.get("none") is None
    assert stores.info("none") is None
    assert stores.of_url("memory://fast/x/y") is fast
    found = stores.of_url("RBD://fsid/pool/image/snap")
    assert found is not None
    assert found.info.name == "ceph"
    assert stores.of_url("https://example.org") is None


def test_the_default_is_the_one_that_says_so() -> None:
    stores = StoreSet([MemoryStore("fast", default=True)], blocks=StoreInfo("blocks", "blocks"))
    assert stores.default == "fast"


def test_the_order_is_weight_then_blocks_then_position_and_unknown_stores_last(stores: StoreSet) -> None:
    there = [at("gone"), at("shelf"), at("deep"), at("blocks"), at("fast"), at("ceph")]
    assert names(stores.ordered(there)) == ["fast", "blocks", "deep", "ceph", "shelf", "gone"]


def test_a_preference_goes_before_weight_and_names_that_say_nothing_do_nothing(stores: StoreSet) -> None:
    there = [at("fast"), at("deep"), at("blocks"), at("shelf")]
    assert names(stores.ordered(there, ["shelf", "none", "deep"])) == ["shelf", "deep", "fast", "blocks"]
    assert names(stores.to_try(there, ["shelf", "shelf"])) == ["shelf", "fast", "blocks", "deep"]


def test_only_active_places_that_can_be_read_are_tried(stores: StoreSet) -> None:
    there = [at("fast", status=LOST), at("ceph"), at("gone"), at("blocks")]
    assert names(stores.to_try(there)) == ["blocks"]


def test_a_place_that_failed_is_tried_last_until_it_went_well(stores: StoreSet, clock: Seconds) -> None:
    there = [at("fast"), at("blocks"), at("deep")]
    stores.failed(at("fast"))
    assert stores.is_aside("fast")
    assert names(stores.to_try(there)) == ["blocks", "deep", "fast"]
    assert names(stores.ordered(there)) == ["fast", "blocks", "deep"]
    clock.now += 0.5
    stores.failed(at("blocks"))
    assert names(stores.to_try(there)) == ["deep", "fast", "blocks"]
    stores.worked(at("fast"))
    assert not stores.is_aside("fast")
    assert names(stores.to_try(there)) == ["fast", "deep", "blocks"]
    clock.now += SHORTEST_PAUSE
    assert names(stores.to_try(there)) == ["fast", "blocks", "deep"]


def test_of_the_web_each_host_is_a_place_of_its_own(clock: Seconds) -> None:
    stores = StoreSet([HttpStore(StoreInfo("web", "http", weight=1), Outgoing())], now=clock)
    one, two = at("web", url="https://one.example/x"), at("web", url="https://two.example/x")
    stores.failed(one)
    assert stores.to_try([one, two, at("blocks")]) == [two, at("blocks"), one]
    assert not stores.is_aside("web")


def test_pauses_double_and_many_failures_at_once_count_once(clock: Seconds) -> None:
    health = Health(clock)
    pause, lasts = SHORTEST_PAUSE, []
    for _ in range(8):
        for _ in range(50):
            health.failed("a")
        until = health.aside_until("a")
        assert until is not None
        lasts.append(until - clock.now)
        clock.now = until
        assert health.aside_until("a") is None
    assert lasts == [min(pause * 2**each, LONGEST_PAUSE) for each in range(8)]


def test_a_store_that_says_it_is_well_and_fails_again_waits_longer(clock: Seconds) -> None:
    health = Health(clock)
    for pause in (1.0, 2.0, 4.0):
        health.failed("a")
        assert health.aside_until("a") == clock.now + pause
        health.asks("a")
        clock.now += 0.5
        health.answered("a")
        assert health.aside_until("a") is None
    health.worked("a")
    health.failed("a")
    assert health.aside_until("a") == clock.now + SHORTEST_PAUSE


def test_while_it_is_asked_it_stays_aside_beyond_its_pause(clock: Seconds) -> None:
    health = Health(clock)
    health.failed("a")
    assert health.ending(within=0.5) == []
    clock.now += 0.6
    assert health.ending(within=0.5) == ["a"]
    health.asks("a")
    clock.now += 5
    assert health.aside_until("a") is not None
    health.failed("a")
    assert health.aside_until("a") == clock.now + 2 * SHORTEST_PAUSE
    health.answered("unknown")
    health.asks("unknown")


def test_a_store_that_is_back_has_its_order_again_without_a_reader(
    fast: MemoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_set, "LOOK_SECONDS", 0.01)
    caplog.set_level(logging.INFO)
    stores = StoreSet([fast])

    async def scenario() -> None:
        fast.down = True
        watching = asyncio.create_task(stores.watch())
        await until(lambda: stores.is_aside("fast"))
        fast.down = False
        await until(lambda: not stores.is_aside("fast"))
        assert fast.checks == 2
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert [record.getMessage() for record in caplog.records] == [
        "Store fast cannot be used now: Store fast is down.",
        "Store fast can be used again",
    ]


def test_a_store_that_never_answers_is_down(
    fast: MemoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Silent(MemoryStore):
        async def check(self) -> None:
            await asyncio.sleep(3600)

    monkeypatch.setattr(store_set, "CHECK_LIMIT", 0.01)
    stores = StoreSet([Silent("silent")])
    asyncio.run(stores.check("silent"))
    assert stores.is_aside("silent")
    assert "does not answer within 0.01 seconds" in caplog.text


def test_all_stores_are_closed_though_one_cannot_be(fast: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(MemoryStore):
        async def close(self) -> None:
            raise OSError("stuck")

    asyncio.run(StoreSet([Stuck("stuck"), fast]).close())
    assert fast.is_closed
    assert "could not be closed" in caplog.text
