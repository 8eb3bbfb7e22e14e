from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from array import array
from typing import TYPE_CHECKING

import pytest

from bench import lagging_server, sink
from bench.asking import Asking
from bench.images import MIB, compressible_image
from bench.in_process import Store, copied, filled
from bench.limit import Limit, Part
from bench.parts import cut
from bench.places import drystone
from bench.show import client
from bench.show.bound.fairness import Repeated
from bench.show.bound.speed import asked
from bench.show.registry import Room, at_least
from bench.show.server import Server
from bench.subjects import Apart, OverHttp

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    compressible_image(path, 4 * MIB, seed=1)
    return path


def test_the_parts_make_up_the_whole_and_are_cut_once(tmp_path: Path, image: Path) -> None:
    parts = cut(image, tmp_path, 2 * MIB)
    assert parts.whole.read_bytes() == image.read_bytes()[: 2 * MIB]
    assert b"".join(part.read_bytes() for part in parts.parts) == parts.whole.read_bytes()
    assert {part.stat().st_size for part in parts.parts} == {MIB // 2}
    made = parts.whole.stat().st_mtime_ns
    assert cut(image, tmp_path, 2 * MIB) == parts
    assert parts.whole.stat().st_mtime_ns == made
    assert parts.images(1) == (parts.whole,)
    assert parts.images(4) == parts.parts


def test_hashes_of_images_at_once_run_side_by_side() -> None:
    parts = (Part("md5", 10**9, 1.0, 500.0), Part("zstd", 10**9, 1.0, 900.0))
    assert Limit("first", 10**9, parts, cores=8).seconds == 2.0
    assert Limit("first", 10**9, parts, cores=8, streams=4).seconds == 0.5


def test_images_at_once_are_all_stored(tmp_path: Path, image: Path) -> None:
    parts = cut(image, tmp_path, 4 * MIB)
    with Store(tmp_path / "data") as store:
        store.ingest_all(parts.parts, ("md5",))
        chain = store.ingest(parts.whole, ())
        assert store.read(chain) == 4 * MIB


def test_a_copied_directory_can_be_written_to_and_the_first_stays_as_it_was(tmp_path: Path, image: Path) -> None:
    held = filled(tmp_path / "held", image)
    before = {path: path.stat().st_size for path in held.rglob("*") if path.is_file()}
    other = tmp_path / "other"
    compressible_image(other, MIB, seed=2)
    with Store(copied(held, tmp_path / "copy")) as store:
        assert store.read(store.ingest(image, ())) == 4 * MIB
        assert store.read(store.ingest(other, ())) == MIB
    assert {path: path.stat().st_size for path in held.rglob("*") if path.is_file()} == before


def test_the_pipeline_runs_apart_and_a_failure_is_told(tmp_path: Path, image: Path) -> None:
    load = Apart("apart", [image], tmp_path).workload()
    assert load.size == 4 * MIB
    load.prepare()
    load.run()
    load.clean()
    assert not (tmp_path / "apart").exists()
    broken = Apart("broken", [image], tmp_path, wrap=["false"])
    with pytest.raises(RuntimeError, match="broken failed before it was ready"):
        broken.workload().prepare()


def test_several_uploads_at_once_over_http_and_repeated_reads(tmp_path: Path, image: Path) -> None:
    for subject in (
        OverHttp("up", image, tmp_path, more=(image, image)),
        OverHttp("down", image, tmp_path, reading=True, times=2, headers=["Accept: */*"]),
    ):
        load = subject.workload()
        load.prepare()
        try:
            load.run()
            assert list(load.pids())
        finally:
            load.clean()
        assert load.size == (3 if subject.more else 2) * 4 * MIB


def test_the_sink_gives_back_what_it_keeps(tmp_path: Path, image: Path) -> None:
    with sink.running() as (url, _):
        subprocess.run(["curl", "-sSf", "-T", str(image), f"{url}/kept"], check=True)
        back = tmp_path / "back"
        subprocess.run(["curl", "-sSf", "-o", str(back), f"{url}/kept"], check=True)
        assert back.read_bytes() == image.read_bytes()
        with Asking(f"{url}/nothing", 0.001) as asking:
            while len(asking.seconds) < 3:
                time.sleep(0.01)
        assert asking.rate > 0
        assert min(asking.seconds) <= asking.median <= max(asking.seconds)


def test_an_answer_that_is_an_error_ends_the_asking() -> None:
    with sink.running() as (url, _), pytest.raises(RuntimeError, match="404"), Asking(f"{url}/not-there"):
        pass


def test_commands_are_repeated_until_the_end_and_failures_are_told(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Repeated([["sh", "-c", f"echo x >> {seen}"], ["sleep", "60"]]):
        while not seen.exists() or len(seen.read_text()) < 6:
            time.sleep(0.01)
    with pytest.raises(RuntimeError, match="exit code 3"), Repeated([["sh", "-c", "exit 3"]]) as running:
        running.join()


def test_a_loop_that_is_kept_busy_is_seen_to_be_late(tmp_path: Path) -> None:
    async def busy() -> str:
        await asyncio.sleep(0.02)
        time.sleep(0.1)  # noqa: ASYNC251 - the very thing that is to be seen
        await asyncio.sleep(0.02)
        return "done"

    samples = array("d")
    start = time.monotonic()
    assert asyncio.run(lagging_server.sampled(busy(), samples)) == "done"
    file = tmp_path / "lags"
    lagging_server.write(file, samples)
    late = lagging_server.read(file, start, time.monotonic())
    assert late[-1] >= 0.09
    assert late == sorted(late)
    assert lagging_server.read(file, 0, start) == []


def test_a_real_server_writes_down_its_lags(tmp_path: Path) -> None:
    file = tmp_path / "lags"
    command = [sys.executable, "-m", "bench.lagging_server", str(file)]
    with Server(tmp_path / "data", command=command) as server:
        client.create(server.url, "image")
        start = time.monotonic()
        time.sleep(0.1)
    assert lagging_server.read(file, start, time.monotonic())
    assert drystone()


def test_the_short_form_asks_for_less(tmp_path: Path) -> None:
    assert asked(Room(tmp_path, tmp_path, short=False), 0.9, 0.1) == 0.9
    assert asked(Room(tmp_path, tmp_path, short=True), 0.9, 0.5) == 0.45


def test_a_figure_may_have_a_bound_below_it() -> None:
    assert at_least("share", 0.9, 0.9, "times").ok
    assert not at_least("share", 0.89, 0.9, "times").ok
    assert at_least("share", 0.89, 0.9, "times").bound == ">= 0.90 times"
