"""An image out, every block verified: in process and over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.harness import Benchmark, under_pytest
from bench.limit import Probe
from bench.primitives import READ
from bench.subjects import InProcess, OverHttp, measured

if TYPE_CHECKING:
    from bench.conftest import Bench

pytestmark = pytest.mark.timeout(3600)


def test_read(benchmark: Benchmark, bench: Bench) -> None:
    image, room, held = bench.pair.v1, bench.room, bench.held
    subjects: list[tuple[InProcess | OverHttp, Probe]] = [
        (InProcess("read, in process", image, room, held, reading=True), Probe("read, in process", image, room, READ)),
        (
            OverHttp("read, over HTTP", image, room, held, reading=True),
            Probe("read, over HTTP", image, room, READ, None, bench.url, bench.sink_pid),
        ),
    ]
    under_pytest(benchmark, lambda: measured(subjects, bench.rounds))
