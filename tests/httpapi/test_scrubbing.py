from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from blockstore import clock, listing, verified_at
from blockstore.damage_met import Met
from blockstore.data_dir import decode_format
from blockstore.disk import Disk
from blockstore.names import made_at
from catalog.health import health_of
from httpapi.scrubbing import Watched, is_due, pause_after, scrubbing
from httpapi.settings import Settings
from tests.kit.filled_store import contents, flip
from tests.kit.serve_process import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

IMAGES = contents(2, 100_000)
NOTHING = Met(0, frozenset())


def store_of(root: Path) -> bytes:
    return decode_format((root / "format").read_bytes(), "format")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - it is a file of another process
            await asyncio.sleep(0.05)


@asynccontextmanager
async def looking(settings: Settings, met: Callable[[], Met], *, by_schedule: bool = True) -> AsyncIterator[None]:
    async with scrubbing(Watched(settings, store_of(settings.data), met, by_schedule), look_seconds=0.05):
        yield


def test_a_pass_is_due_when_the_last_is_long_ago_or_was_interrupted(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    store, day = store_of(root), 86400.0
    assert clock.now_us() - made_at(store) < day * 1e6
    assert not is_due(Settings(data=root, scrub_every=day), store), "the store is new"
    assert is_due(Settings(data=root, scrub_every=0.001), store)
    assert not is_due(Settings(data=root, scrub_every=0.0), store), "off"
    state = verified_at.load(root, store)
    state.began = clock.now_us()
    verified_at.save(root, state, Disk())
    assert is_due(Settings(data=root, scrub_every=day), store)
    with verified_at.alone(root, Disk()):
        assert not is_due(Settings(data=root, scrub_every=day), store)
    state.began, state.finished = 0, clock.now_us()
    verified_at.save(root, state, Disk())
    assert not is_due(Settings(data=root, scrub_every=day), store)


def test_a_server_scrubs_on_schedule_in_a_process_of_its_own(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    pack = next(listing.packs(root)).path
    flip(pack, 5000 * 8)
    state = verified_at.load(root, store_of(root))
    state.began = 1
    verified_at.save(root, state, Disk())

    async def work() -> None:
        async with looking(Settings(data=root), lambda: NOTHING):
            await until(lambda: verified_at.load(root, store_of(root)).finished > 0)
            await until(lambda: health_of(root) is not None)

    asyncio.run(work())
    health = health_of(root)
    assert health is not None
    assert {image.id for image in health.harmed} <= set(ids)
    assert health.bad_blocks == 1


def test_what_a_reader_met_is_mended_and_told_soon(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    listed = next(listing.manifests(root))
    before = listed.path.read_bytes()
    flip(listed.path, 150 * 8)

    async def work() -> None:
        async with looking(Settings(data=root), lambda: Met(0, frozenset({listed.name})), by_schedule=False):
            await until(lambda: listed.path.read_bytes() == before)
            await until(lambda: health_of(root) is not None)

    asyncio.run(work())


def test_what_fails_each_time_is_tried_less_and_less_often() -> None:
    pauses = [10.0]
    for _ in range(8):
        pauses.append(pause_after(pauses[-1], 10.0, well=False))
    assert pauses == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert pause_after(600.0, 10.0, well=True) == 10


def test_the_process_is_ended_with_its_server(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    state = verified_at.load(root, store_of(root))
    state.began = 1
    verified_at.save(root, state, Disk())

    async def work() -> None:
        # So slow that it would take minutes.
        async with looking(Settings(data=root, scrub_rate=1000), lambda: NOTHING):
            await until(lambda: verified_at.is_running(root))
        assert not verified_at.is_running(root)

    asyncio.run(work())
    assert verified_at.load(root, store_of(root)).began == 1, "the next one goes on"


def test_the_process_ends_with_a_server_that_is_killed(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    program = (
        "import asyncio, sys; from pathlib import Path; from httpapi.background import run_verb;"
        "from httpapi.settings import Settings;"
        "asyncio.run(run_verb(Settings(data=Path(sys.argv[1])), 'scrub', '--rate', '1000'))"
    )
    server = subprocess.Popen([sys.executable, "-c", program, str(root)], cwd=ROOT)
    asyncio.run(until(lambda: verified_at.is_running(root)))
    server.kill()
    server.wait()
    asyncio.run(until(lambda: not verified_at.is_running(root)))


@pytest.mark.parametrize(
    ("given", "seconds"), [("30d", 2592000.0), (90, 90.0), ("1.5 h", 5400.0), ("2m", 120.0), ("0", 0.0)]
)
def test_a_time_may_have_a_unit_and_stand_in_a_table(tmp_path: Path, given: object, seconds: float) -> None:
    from httpapi.settings import load

    path = tmp_path / "drystone.toml"
    text = given if isinstance(given, int) else f'"{given}"'
    path.write_text(f'[scrub]\nevery = {text}\nrate = "1MiB"\n')
    settings = load(config=path, environment={})
    assert settings.scrub_every == seconds
    assert settings.scrub_rate == 1 << 20


@pytest.mark.parametrize("given", ["soon", "-1", "1w", "", "99999d"])
def test_what_is_no_time_is_refused(given: str) -> None:
    from httpapi.settings import SettingsRefused, load

    with pytest.raises(SettingsRefused, match="scrub_every"):
        load(environment={"DRYSTONE_SCRUB_EVERY": given})
