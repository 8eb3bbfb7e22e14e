"""What the benchmarks share: the pair, a data directory that holds v1, and a sink for HTTP alone."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import images, sink
from bench.in_process import filled

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a benchmark works, on what, and how often."""

    pair: images.Pair
    held: Path
    room: Path
    url: str
    sink_pid: int
    rounds: int


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image-size", type=images.in_bytes, default=images.REAL, help="of the real pair, such as 96MiB")
    parser.addoption("--rounds", type=int, default=3, help="of every interleaved measurement")


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    pair = images.real_pair(size=request.config.getoption("--image-size"))
    with sink.running() as (url, pid), tempfile.TemporaryDirectory(dir=images.WORK, prefix="bench-") as made:
        room = Path(made)
        held = filled(room / "held", pair.v1)
        yield Bench(pair, held, room, url, pid, request.config.getoption("--rounds"))
