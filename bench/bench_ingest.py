"""An image in: the first time, its next version, and one that is held already; in process and over HTTP.

pytest bench -o python_files='bench_*.py' --benchmark-only -s
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.harness import Benchmark, under_pytest
from bench.limit import Probe, ingest_steps
from bench.subjects import InProcess, OverHttp, measured

if TYPE_CHECKING:
    from pathlib import Path

    from bench.conftest import Bench

pytestmark = pytest.mark.timeout(3600)


def test_first_ingest(benchmark: Benchmark, bench: Bench) -> None:
    _ingest(benchmark, bench, "first ingest", bench.pair.v1, None)


def test_next_version(benchmark: Benchmark, bench: Bench) -> None:
    _ingest(benchmark, bench, "next version", bench.pair.v2, bench.held)


def test_held(benchmark: Benchmark, bench: Bench) -> None:
    _ingest(benchmark, bench, "held", bench.pair.v1, bench.held)


def _ingest(benchmark: Benchmark, bench: Bench, what: str, image: Path, held: Path | None) -> None:
    known = bench.pair.v1 if held else None
    hashed, plain = ingest_steps(hashes=True), ingest_steps(hashes=False)
    room = bench.room
    subjects: list[tuple[InProcess | OverHttp, Probe]] = [
        (InProcess(f"{what}, in process", image, room, held), Probe(f"{what}, in process", image, room, hashed, known)),
        (
            InProcess(f"{what}, in process, no hashes", image, room, held, hashes=()),
            Probe(f"{what}, in process, no hashes", image, room, plain, known),
        ),
        (
            OverHttp(f"{what}, over HTTP", image, room, held),
            Probe(f"{what}, over HTTP", image, room, hashed, known, bench.url, bench.sink_pid),
        ),
    ]
    under_pytest(benchmark, lambda: measured(subjects, bench.rounds))
