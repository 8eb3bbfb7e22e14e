from __future__ import annotations

import os

import pytest

from bench.harness import GIB, Ratio, Report, Result, Sample, Workload, cpu_seconds, interleave, under_pytest


def test_workloads_take_turns_and_every_round_begins_with_another() -> None:
    order: list[str] = []

    def workload(name: str) -> Workload:
        return Workload(name, 1, lambda: order.append(name))

    interleave([workload("a"), workload("b"), workload("c")], rounds=3)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_each_run_is_prepared_and_cleaned_also_when_it_fails() -> None:
    seen: list[str] = []

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        interleave([Workload("a", 1, fail, lambda: seen.append("prepare"), lambda: seen.append("clean"))])
    assert seen == ["prepare", "clean"]


def test_medians_are_told_as_speed_and_cpu() -> None:
    result = Result("in", GIB, (Sample(1, 2), Sample(9, 3), Sample(2, 8)))
    assert result.wall == 2
    assert result.cpu_per_gib == 3
    assert str(result) == "in: 537 MB/s, 3.00 CPU s/GiB (median of 3, slowest 119 MB/s)"


def test_a_ratio_tells_both_its_numbers() -> None:
    assert str(Ratio("share", 300, 400, "limit")) == "share: 300 MB/s / 400 MB/s (limit) = 0.75"


def test_a_report_goes_into_the_benchmark_with_numerator_and_denominator() -> None:
    class Fixture:
        def __init__(self) -> None:
            self.extra_info: dict[str, object] = {}

        def pedantic(self, target: object, *, rounds: int, iterations: int) -> object:
            assert callable(target)
            assert (rounds, iterations) == (1, 1)
            return target()

    kept = Report({"in": Result("in", 10**6, (Sample(0.5, 1),))}, [Ratio("share", 2, 4, "limit")], ["how"])
    fixture = Fixture()
    assert under_pytest(fixture, lambda: kept) is kept
    share = fixture.extra_info["share"]
    assert share == {"numerator": 2, "denominator": 4, "of": "limit", "unit": "MB/s", "ratio": 0.5}
    assert fixture.extra_info["notes"] == ["how"]


def test_the_cpu_of_a_process_that_is_gone_is_nothing() -> None:
    assert cpu_seconds(os.getpid()) > 0
    assert cpu_seconds(2**22 + 1) == 0
