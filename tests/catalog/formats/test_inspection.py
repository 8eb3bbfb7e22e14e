"""What an image's bytes are found to be: by real files, by hand-made headers, and by hostile ones."""

from __future__ import annotations

import asyncio
import json
import struct
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_utils.imageutils import format_inspector as oslo

from catalog.formats.inspection import inspect
from catalog.formats.rules import Said
from catalog.formats.signatures import HEAD, resembles
from catalog.formats.watching import Watched, inspected
from tests.kit.disk_files import (
    DANGERS,
    DISK_SIZES,
    boot_sector,
    disc,
    disk_file,
    format_of,
    luks1,
    luks2,
)  # fmt: skip
from tests.kit.memory_blocks import MemoryReader
from tests.kit.pieces_source import PiecesSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from catalog.formats.questions import Finding

MIB = 1 << 20
DISC_SIZES = {
    "raw": (b"\0" * MIB, "raw", MIB),
    "a boot sector": (boot_sector(), "gpt", 128 << 10),
    "a GPT": (boot_sector(gpt=True), "gpt", 128 << 10),
    "luks": (luks1(4096), "luks", (128 << 10) - 4096),
    "luks2": (luks2(16384), "luks", (128 << 10) - 16384),
    "a disc": (disc(), "iso", 128 << 10),
    "a disc that boots": (disc(bootable=True), "iso", 128 << 10),
    "text": (b"#!/bin/sh\necho\n", "raw", 15),
    "nothing": (b"", "raw", 0),
}


async def at_once(step: Callable[[], None]) -> None:
    step()


async def pieces_of(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def streamed(data: bytes, disk_format: str, piece: int = 100_000) -> Finding:
    async def read() -> Finding:
        found: list[Finding] = []
        source = Watched(PiecesSource(pieces_of(data, piece)), inspect(disk_format), found.append, at_once)
        room = memoryview(bytearray(MIB))
        taken = b""
        while got := await source.read_into(room):
            taken += room[:got]
        assert taken == data
        assert [source.finding] == found
        return found[0]

    return asyncio.run(read())


def stored(data: bytes, disk_format: str) -> Finding:
    return asyncio.run(inspected(MemoryReader(data), inspect(disk_format), at_once))


def both(data: bytes, disk_format: str) -> Finding:
    """What it is; a stream and a stored image must be found to be the same."""
    found = streamed(data, disk_format)
    assert stored(data, disk_format) == found
    return found


@pytest.mark.parametrize("name", DISK_SIZES)
def test_a_file_of_qemu_img_is_of_its_format_and_safe_and_its_disk_has_its_size(name: str) -> None:
    data = disk_file(name)
    found = both(data, format_of(name))
    assert (found.content, found.danger) == (format_of(name), None)
    assert found.disk_size(len(data)) == DISK_SIZES[name]


@pytest.mark.parametrize("name", DANGERS)
def test_a_file_that_leads_elsewhere_or_is_of_no_known_version_is_a_danger(name: str) -> None:
    for disk_format in (format_of(name), "raw"):
        danger = both(disk_file(name), disk_format).danger
        assert danger is not None
        assert DANGERS[name] in danger


@pytest.mark.parametrize("name", DISC_SIZES)
def test_a_plain_disk_is_as_large_as_its_bytes_but_for_the_header_of_its_encryption(name: str) -> None:
    data, content, size = DISC_SIZES[name]
    found = both(data, "raw")
    assert (found.content, found.danger, found.disk_size(len(data))) == (content, None, size)


def test_what_is_several_formats_at_once_is_a_danger() -> None:
    qcow2 = disk_file("plain.qcow2")
    for data in (
        qcow2[:510] + b"\x55\xaa" + qcow2[512:],
        qcow2[: 32 << 10] + disc()[32 << 10 :],
        disk_file("plain.vdi")[:512].ljust(32 << 10, b"\0") + disc()[32 << 10 :],
    ):
        found = both(data, "raw")
        assert found.danger is not None
        assert "several formats" in found.danger


def test_disks_that_lie_over_another_one_are_a_danger() -> None:
    vhd, vdi, vhdx = (bytearray(disk_file(name)) for name in ("dynamic.vhd", "plain.vdi", "plain.vhdx"))
    vhd[60:64] = struct.pack(">I", 4)
    vdi[0x4C:0x50] = struct.pack("<I", 4)
    at = vhdx.index(b"metadata")
    entries = struct.unpack_from("<H", vhdx, at + 10)[0]
    vhdx[at + 10 : at + 12] = struct.pack("<H", entries + 1)
    parent = bytes.fromhex("2d5fd3a80bb34d45abf7d3d84834ab0c")
    vhdx[at + 32 + 32 * entries :][:16] = parent
    vhdx[at + 32 + 32 * entries : at + 48 + 32 * entries] = parent
    for data, name in ((vhd, "vhd"), (vdi, "vdi"), (vhdx, "vhdx")):
        assert both(bytes(data), name).danger == "it lies over another disk"


def test_a_fixed_vhd_is_one_by_its_end_alone_and_raw_for_who_says_so() -> None:
    data = disk_file("fixed.vhd")
    assert both(data, "vhd").content == "vhd"
    assert both(data, "raw").content == "raw"
    assert both(data[:-512], "vhd").content == "raw"


def test_a_header_that_is_cut_off_is_judged_with_zeros_behind_it() -> None:
    assert both(disk_file("backing.qcow2")[:80], "raw").danger is not None
    assert both(b"KDMV", "vmdk").danger is not None
    assert both(b"vhdxfile", "vhdx").danger is not None


def test_a_size_beyond_what_can_be_kept_is_a_danger() -> None:
    data = bytearray(disk_file("plain.qcow2"))
    data[24:32] = b"\xff" * 8
    assert "18446744073709551615" in str(both(bytes(data), "qcow2").danger)


def test_what_a_foreign_program_says_of_a_header_is_not_passed_on() -> None:
    data = bytearray(disk_file("sparse.vmdk"))
    data[4:8] = struct.pack("<I", 99)
    assert both(bytes(data), "vmdk").danger == "its header makes no sense"


def test_a_descriptor_longer_than_is_looked_at_is_a_danger() -> None:
    data = bytearray(disk_file("sparse.vmdk"))
    data[36:44] = struct.pack("<Q", 129)
    assert both(bytes(data), "vmdk").danger == "its descriptor is too long"


def test_a_stream_in_single_bytes_is_found_to_be_the_same() -> None:
    for name in ("plain.vdi", "dynamic.vhd", "flat.vmdk"):
        assert streamed(disk_file(name), format_of(name), piece=1) == streamed(disk_file(name), format_of(name))


def test_a_raw_disk_is_looked_at_for_its_first_64_kib_alone() -> None:
    async def read() -> int:
        told: list[int] = []
        room = memoryview(bytearray(HEAD))
        source = Watched(
            PiecesSource(pieces_of(b"\0" * MIB, HEAD)), inspect("raw"), lambda _: told.append(reads), at_once
        )
        reads = 0
        while True:
            reads += 1
            if not await source.read_into(room):
                return told[0]

    assert asyncio.run(read()) == 1


# What is not known there by its own name: the end tells of the one, nothing but text of the other.
_AT_THE_BEGINNING: dict[str, set[str]] = {"fixed.vhd": set(), "flat.vmdk": set(), "qcow1.qcow": {"qcow2"}}


def test_what_oslo_knows_at_its_beginning_is_never_passed_over() -> None:
    for name in (*DISK_SIZES, *DANGERS):
        known = _known_to_oslo(disk_file(name))
        # Else this would pass, too, if its inspectors could not be asked like that any more.
        assert known == _AT_THE_BEGINNING.get(name, {format_of(name)}), name
        assert known <= resembles(disk_file(name)[:HEAD].ljust(HEAD, b"\0")), name


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([*DISK_SIZES, *DANGERS]),
    st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=9)), max_size=6),
    st.integers(0, 3),
)
def test_a_hostile_header_costs_little_and_is_never_an_error(
    name: str, changes: list[tuple[int, bytes]], where: int
) -> None:
    data = bytearray(disk_file(name)[:MIB])
    # Where headers, descriptors, region tables and metadata lie.
    for at, change in changes:
        start = (0, 512, 192 << 10, 256 << 10)[where] + at
        if start + len(change) <= len(data):
            data[start : start + len(change)] = change
    began = time.thread_time()
    tracemalloc.start()
    found = stored(bytes(data), format_of(name))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    assert time.thread_time() - began < 2
    assert found.disk_size(len(data)) is None or 0 <= found.disk_size(len(data)) < 2**63  # type: ignore[operator]
    if found.danger is None:
        assert _known_to_oslo(bytes(data)) <= {found.content, "raw"}


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_the_json_of_a_luks_header_may_be_anything(text: str) -> None:
    data = luks2(text=text.replace("\0", ""))
    assert both(data, "raw").danger is None


@pytest.mark.parametrize("offset", [-1, -(2**70), 2**70])
def test_a_disk_that_would_begin_outside_of_its_image_has_no_known_size(offset: int) -> None:
    """A size beyond 64 bits could not be kept, and fail the upload as a defect of ours."""
    data = luks2(text=json.dumps({"segments": {"0": {"offset": str(offset)}}}))
    assert both(data, "raw").disk_size(len(data)) is None


def test_what_each_format_takes() -> None:
    raw, gpt, iso, qcow2 = (both(data, "x") for data in (b"\0" * 99, boot_sector(), disc(), disk_file("plain.qcow2")))
    for disk_format, taken in (
        ("raw", (raw, gpt, iso, qcow2)),
        ("ami", (raw, gpt)),
        ("ploop", (raw, gpt)),
        ("iso", (iso,)),
        ("qcow2", (qcow2,)),
        ("vmdk", ()),
    ):
        said = Said("id", disk_format, "bare")
        assert tuple(each for each in (raw, gpt, iso, qcow2) if said.fault(each) is None) == taken
    assert Said("id", "raw", "bare").disk_size(qcow2, 500) == 500
    assert Said("id", "qcow2", "bare").disk_size(qcow2, 500) == MIB
    assert Said("id", "vmdk", "bare").disk_size(qcow2, 500) is None
    assert Said("id", "raw", "ova").disk_size(None, 500) is None


def _known_to_oslo(data: bytes) -> set[str]:
    """What oslo.utils' own streaming finds in the beginning, but for what it needs all of a file for."""
    known = set()
    for name, kind in oslo.ALL_FORMATS.items():
        inspector = kind()
        try:
            inspector.eat_chunk(data[:HEAD].ljust(HEAD, b"\0"))
            if name != "raw" and inspector.format_match:
                known.add(name)
        except Exception:
            # An inspector that fails over hostile bytes has not known them; that ours does not fail is tested above.
            continue
    return known
