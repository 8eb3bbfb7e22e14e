"""What leads elsewhere, lies, or grows is refused with a sentence, costs little, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import resource
from typing import TYPE_CHECKING

import pytest

from catalog.conversion.cage import CageLimits
from catalog.conversion.converter import CagedConverter
from catalog.conversion.unpack.program import unpack
from catalog.conversion_ports import Disk
from catalog.model.errors import ConversionRefused
from tests.contracts.converter import unheard
from tests.kit.caged_processes import working_in
from tests.kit.hostile_files import HOSTILE, PACKED, SECRET, gzip_bomb, many_times_qcow2, qcow2, zstd_runs

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 1 << 40
CAP = 4 << 20


def converter(**limits: object) -> CagedConverter:
    return CagedConverter(CageLimits(**{"reserve": 0, **limits}), longest=LIMIT)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_disk_is_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    file = HOSTILE[name]
    file.write(tmp_path / "source")
    with pytest.raises(ConversionRefused) as refused:
        asyncio.run(converter().inspect(tmp_path / "source", file.disk_format))
    told = str(refused.value)
    assert file.told in told
    assert told[0].isupper()
    assert told.endswith(".")
    assert len(told) < 500
    assert "json:" not in told
    assert str(tmp_path) not in told
    assert not working_in(tmp_path)


@pytest.mark.parametrize("name", PACKED)
def test_a_hostile_compressed_file_is_refused_with_a_reason_and_at_the_cap(tmp_path: Path, name: str) -> None:
    PACKED[name].write(tmp_path / "source")
    source = os.open(tmp_path / "source", os.O_RDONLY)
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    try:
        told = str(unpack(source, target, cap=CAP)["refused"])
        assert os.fstat(target).st_size <= CAP
    finally:
        os.close(source)
        os.close(target)
    assert PACKED[name].told in told
    assert told[0].isupper()
    assert told.endswith(".")


@pytest.mark.parametrize("make", [gzip_bomb, zstd_runs])
def test_a_bomb_costs_the_service_no_memory_and_the_disk_no_more_than_the_cap(
    tmp_path: Path, make: type[object]
) -> None:
    (tmp_path / "source").write_bytes(bytes(make()))  # type: ignore[call-overload]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConversionRefused, match="longer than the"):
        asyncio.run(converter().unpack(tmp_path, "source", "target", cap=CAP))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10
    assert [each.name for each in tmp_path.iterdir()] == ["source"]
    assert not working_in(tmp_path)


def test_were_a_file_over_another_ever_opened_that_other_is_not_read(tmp_path: Path) -> None:
    # As if nobody had looked at it: the second line of defence.
    (tmp_path / "source").write_bytes(qcow2(backing=SECRET))
    made = asyncio.run(
        converter().convert(tmp_path, Disk("qcow2", 1 << 20), "source", "target", "raw", progress=unheard)
    )
    assert made == Disk("raw", 1 << 20)
    assert (tmp_path / "target").read_bytes() == bytes(1 << 20)


def test_what_takes_too_much_processor_time_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(many_times_qcow2(counted=True))
    with pytest.raises(ConversionRefused, match="convert_cpu_time"):
        asyncio.run(
            converter(cpu_time=1).convert(
                tmp_path, Disk("qcow2", 1 << 30), "source", "target", "qcow2",
                compressed=True, progress=unheard,
            )
        )  # fmt: skip
    assert [each.name for each in tmp_path.iterdir()] == ["source"]


def test_a_new_file_never_becomes_longer_than_the_disk_that_was_looked_at(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(many_times_qcow2(counted=True))
    with pytest.raises(ConversionRefused, match="longer than the disk"):
        asyncio.run(converter().convert(tmp_path, Disk("qcow2", 1 << 20), "source", "target", "raw", progress=unheard))
    assert [each.name for each in tmp_path.iterdir()] == ["source"]
