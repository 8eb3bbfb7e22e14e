"""What it costs that images are inspected while they come: the same held image with and without, over HTTP, in turns.

pytest bench/bench_formats.py --benchmark-only -s
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.harness import Benchmark, Ratio, interleave, under_pytest
from bench.subjects import OverHttp

if TYPE_CHECKING:
    from bench.conftest import Bench
    from bench.harness import Report

pytestmark = pytest.mark.timeout(3600)


def test_inspected(benchmark: Benchmark, bench: Bench) -> None:
    under_pytest(benchmark, lambda: _compared(bench))


def _compared(bench: Bench) -> Report:
    """Hashes come later, so that an upload is as cheap as it can be and what is added shows."""
    subjects = [
        OverHttp(
            f"held, {formats}", bench.pair.v1, bench.room, bench.held,
            settings={"formats": formats, "hashes": "background", "jobs": 0},
        )
        for formats in ("off", "enforce")
    ]  # fmt: skip
    report = interleave([each.workload() for each in subjects], bench.rounds)
    off, on = (report.results[each.name] for each in subjects)
    report.ratios.append(
        Ratio("inspected", on.cpu_per_gib * 1000, off.cpu_per_gib * 1000, "not inspected", "CPU ms/GiB")
    )
    return report
