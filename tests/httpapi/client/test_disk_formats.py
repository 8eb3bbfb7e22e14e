from __future__ import annotations

import os
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from httpapi.client.block_file import open_block_file
from httpapi.client.disk_formats.first_bytes import FORMATS, format_of
from httpapi.client.disk_formats.headers import read_header
from httpapi.client.disk_formats.opening import open_guest_disk
from httpapi.client.errors import ProgramMissing, SourceRefused
from httpapi.client.known_names import known_below
from tests.kit.disk_files import DISK_SIZES, disk_file
from tests.kit.disk_files import format_of as ending_of
from tests.kit.qemu_files import make_disk, make_overlay, qemu, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpapi.client.disk_formats.guest_disk import GuestDisk

MIB = 1 << 20
DATA = os.urandom(MIB) + bytes(2 * MIB) + os.urandom(MIB)


def opened(path: Path, *backing_dirs: str) -> GuestDisk:
    disk = open_guest_disk(str(path), backing_dirs)
    assert disk is not None
    return disk


def read(disk: GuestDisk, offset: int = 0, size: int | None = None) -> bytes:
    return bytes(disk.fill(memoryview(bytearray(disk.size if size is None else size)), offset))


def programs_of(disk: GuestDisk) -> int:
    """How many read the disk's file."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            process = each.parents[1]
            if process.joinpath("comm").read_text().strip() == "qemu-nbd" and each.readlink() == Path(disk.name):
                found.add(process)
    return len(found)


@pytest.mark.parametrize("name", [name for name in DISK_SIZES if ending_of(name) in FORMATS])
def test_a_file_says_how_large_its_guests_disk_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(disk_file(name))
    file = open_block_file(str(path))
    found = format_of(file.descriptor)
    assert found == ending_of(name)
    assert read_header(file.descriptor, found, name).size == DISK_SIZES[name]
    file.close()


@pytest.mark.parametrize("name", ["dynamic.vhd", "qcow1.qcow", "plain.qed"])
def test_other_formats_are_not_for_this(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(disk_file(name))
    assert open_guest_disk(str(tmp_path / name)) is None


def test_what_is_no_regular_file_is_not_for_this(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for each in (tmp_path / "pipe", tmp_path, tmp_path / "none", Path("/dev/null")):
        assert open_guest_disk(str(each)) is None


@pytest.mark.parametrize(
    ("disk_format", "options"),
    [
        ("qcow2", ()), ("qcow2", ("-c",)), ("qcow2", ("-o", "extended_l2=on,cluster_size=128k")), ("vmdk", ()),
        ("vmdk", ("-o", "subformat=streamOptimized")), ("vhdx", ()), ("vdi", ()),
    ],
)  # fmt: skip
def test_a_guests_bytes_are_read_and_its_holes_are_not(
    tmp_path: Path, disk_format: str, options: tuple[str, ...]
) -> None:
    disk = opened(make_disk(tmp_path / f"d.{disk_format}", disk_format, DATA, *options))
    assert (disk.format, disk.size, disk.next_data(0)[0]) == (disk_format, len(DATA), 0)
    assert read(disk) == DATA
    assert read(disk, 3 * MIB - 5, 10) == DATA[3 * MIB - 5 : 3 * MIB + 5]
    # A vhdx has blocks of megabytes.
    data = sum(stop - start for start, stop in extents(disk))
    assert 2 * MIB <= data < 3 * MIB or disk_format == "vhdx"
    disk.close()
    assert programs_of(disk) == 0


def extents(disk: GuestDisk) -> Iterator[tuple[int, int]]:
    at = 0
    while at < disk.size:
        start, at = disk.next_data(at)
        yield start, at


def test_a_sparse_disk_is_looked_at_in_no_time(tmp_path: Path) -> None:
    path = tmp_path / "d.qcow2"
    qemu("qemu-img", "create", "-q", "-f", "qcow2", path, "1T")
    write(path, "write -P 7 700G 64k")
    disk, began = opened(path), time.monotonic()
    assert list(extents(disk)) == [(700 << 30, (700 << 30) + (64 << 10)), (1 << 40, 1 << 40)]
    assert time.monotonic() - began < 10
    disk.close()


def hostile_header(tmp_path: Path, name: str, *changes: tuple[int, bytes]) -> Path:
    data = bytearray(disk_file(name))
    for at, new in changes:
        data[at : at + len(new)] = new
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("plain.qcow2", [(24, struct.pack(">Q", 1 << 63))], "more than 64 TiB is taken for damage: get it anew"),
        ("plain.qcow2", [(32, struct.pack(">I", 1))], "is encrypted"),
        ("plain.qcow2", [(72, struct.pack(">Q", 2))], "damaged, or newer"),
        ("plain.qcow2", [(72, struct.pack(">Q", 1 << 40))], "damaged, or newer"),
        ("plain.qcow2", [(4, struct.pack(">I", 4))], "version 4"),
        ("data-file.qcow2", [], "has its bytes in another file .* `qemu-img convert -O qcow2` makes one"),
        ("flat.vmdk", [], "only describes a disk whose bytes lie in other files"),
        ("sparse.vmdk", [(12, bytes(8))], "has its bytes in other files"),
        ("sparse.vmdk", [(600, b'parentFileNameHint="/etc/shadow"')], "only what differs from another disk"),
        ("plain.vdi", [(76, struct.pack("<I", 4))], "only what differs from another disk"),
        ("plain.vdi", [(388, struct.pack("<I", 9))], "is cut off"),
        ("plain.vhdx", [(192 << 10, bytes(4)), (256 << 10, bytes(4))], "does not say how large"),
    ],
)  # fmt: skip
def test_a_file_that_would_have_others_read_or_is_damaged_is_refused_before_any_tool_opens_it(
    tmp_path: Path, name: str, changes: list[tuple[int, bytes]], why: str
) -> None:
    with pytest.raises(SourceRefused, match=why):
        open_guest_disk(str(hostile_header(tmp_path, name, *changes)))


@pytest.mark.parametrize("name", ["plain.qcow2", "sparse.vmdk", "plain.vdi", "plain.vhdx"])
def test_a_header_that_is_cut_off_anywhere_is_refused_or_no_header(tmp_path: Path, name: str) -> None:
    whole = disk_file(name)
    for length in (*range(0, 120, 7), 340, 370, 380, 512, min(1024, len(whole) - 1)):
        (tmp_path / name).write_bytes(whole[:length])
        with suppress(SourceRefused):
            disk = open_guest_disk(str(tmp_path / name))
            if disk is not None:
                with pytest.raises(SourceRefused, match="--as-is"):
                    disk.begin()
                disk.close()


@pytest.mark.parametrize(
    ("disk_format", "options"), [("qcow2", ()), ("qcow2", ("-c",)), ("vmdk", ()), ("vhdx", ()), ("vdi", ())]
)
def test_a_file_that_is_cut_off_is_refused_where_tools_would_read_zeros(
    tmp_path: Path, disk_format: str, options: tuple[str, ...]
) -> None:
    path = make_disk(tmp_path / f"d.{disk_format}", disk_format, os.urandom(4 * MIB), *options)
    os.truncate(path, path.stat().st_size * 6 // 10)
    with pytest.raises(SourceRefused, match="--as-is"):
        opened(path).begin()


@pytest.mark.parametrize(
    ("below", "below_format", "why"),
    [
        ("/etc/hostname", "raw", "lies over /etc/hostname, which is neither beside it nor below: .*--backing-dir /etc"),
        ("../outside", "raw", "neither beside it nor below"),
        ("link", "raw", "lies over /etc/passwd, which is neither"),
        ("json:{}", "raw", "is no file's name"),
        ("nbd://host/x", "raw", "is no file's name"),
        ("file:base", "raw", "is no file's name"),
        ("base", "luks", "of the format 'luks', which is not followed"),
        ("base", "qcow2", "as qcow2, and that is none"),
        ("none", "raw", "'none': cannot read .*none: No such file"),
        (".", "raw", "is no regular file"),
        ("d.qcow2", "qcow2", "is below itself"),
    ],
)
def test_a_file_below_is_followed_only_where_it_may_lie(
    tmp_path: Path, below: str, below_format: str, why: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "outside").write_bytes(DATA)
    (here / "base").write_bytes(DATA)
    (here / "link").symlink_to("/etc/passwd")
    path = make_overlay(here / "d.qcow2", below, below_format, MIB)
    with pytest.raises(SourceRefused, match=why):
        open_guest_disk(str(path))


def test_a_file_below_lies_beside_or_where_the_user_says(tmp_path: Path) -> None:
    (tmp_path / "here" / "deep").mkdir(parents=True)
    for name in ("outside", "here/base", "here/deep/base"):
        (tmp_path / name).write_bytes(name.encode().ljust(512, b"."))
    for below, directories, told in (
        ("base", (), b"here/base"), ("deep/base", (), b"here/deep/base"),
        ("../outside", (str(tmp_path),), b"outside"), (str(tmp_path / "here/base"), (), b"here/base"),
    ):  # fmt: skip
        disk = opened(make_overlay(tmp_path / "here" / "d.qcow2", below, "raw", MIB), *directories)
        assert read(disk, 0, len(told)) == told
        assert read(disk, 512, 512) == bytes(512)
        disk.close()


def test_a_format_below_that_is_not_stated_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(DATA)
    path = make_overlay(tmp_path / "d.qcow2", "base", "raw", MIB)
    data = bytearray(path.read_bytes())
    data[data.index(struct.pack(">I", 0xE2792ACA)) :][:4] = b""
    at = data.index(struct.pack(">I", 0xE2792ACA))
    data[at : at + 4] = b"\x12\x34\x56\x78"
    path.write_bytes(data)
    with pytest.raises(SourceRefused, match=r"but not of which format .* `qemu-img rebase -u -F qcow2 -b base "):
        open_guest_disk(str(path))


def test_a_disk_whose_name_says_raw_does_not_become_an_overlay_by_what_its_guest_wrote(tmp_path: Path) -> None:
    (tmp_path / "other-vm").write_bytes(DATA)
    path = make_overlay(tmp_path / "vm.img", "other-vm", "raw", MIB)
    with pytest.raises(SourceRefused, match=r"its name does not say so: .* --backing-dir; .* --as-is"):
        open_guest_disk(str(path))
    opened(path, str(tmp_path)).close()


def test_what_an_overlay_has_itself_is_told_by_depth(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(DATA)
    middle = make_overlay(tmp_path / "middle.qcow2", "base", "raw", 8 * MIB)
    write(middle, "write -P 1 1M 64k")
    top = make_overlay(tmp_path / "top.qcow2", "middle.qcow2", "qcow2", 8 * MIB)
    write(top, "write -P 2 5M 64k", "write -z 0 64k")
    disk = opened(top)
    assert list(disk.above(1)) == [(0, 64 << 10), (5 * MIB, 64 << 10)]
    assert list(disk.above(2)) == [(0, 64 << 10), (MIB, 64 << 10), (5 * MIB, 64 << 10)]
    assert [(each.depth, Path(each.name).name, each.size) for each in disk.below()] == [
        (1, "middle.qcow2", 8 * MIB),
        (2, "base", len(DATA)),
    ]
    base, alone = open_block_file(str(tmp_path / "base")), opened(middle)
    assert [each.stamp for each in disk.below()] == [alone.stamp(), base.stamp()]
    assert len({disk.stamp(), alone.stamp(), base.stamp()}) == 3
    for each in (disk, base, alone):
        each.close()


def test_a_change_to_any_file_of_a_chain_changes_its_stamp(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(DATA)
    disk = opened(make_overlay(tmp_path / "d.qcow2", "base", "raw", MIB))
    before = disk.stamp()
    assert disk.stamp() == before
    os.utime(tmp_path / "base")
    assert disk.stamp() != before
    disk.close()


def test_qemu_nbd_is_asked_for_only_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_disk(tmp_path / "d.qcow2", "qcow2", DATA)
    monkeypatch.setenv("PATH", str(tmp_path))
    disk = opened(path)
    assert disk.size == len(DATA)
    with pytest.raises(ProgramMissing, match=r"qemu-.* is not installed: .* and --as-is keeps the file as it is"):
        disk.begin()
    disk.close()


def test_a_read_after_the_end_of_its_program_is_told(tmp_path: Path) -> None:
    disk = opened(make_disk(tmp_path / "d.qcow2", "qcow2", DATA))
    disk.begin()
    assert programs_of(disk) == 1
    served = disk._served
    assert served is not None
    served._program._process.kill()
    with pytest.raises(SourceRefused, match="qemu-nbd has ended with exit code -9"):
        read(disk)
    disk.close()


def test_nothing_is_known_of_what_lies_over_a_disk_that_was_never_scanned(tmp_path: Path) -> None:
    from httpapi.client.block_scan import Geometry
    from httpapi.client.names_cache import NamesCache

    (tmp_path / "base").write_bytes(DATA)
    disk = opened(make_overlay(tmp_path / "d.qcow2", "base", "raw", MIB))
    assert known_below(disk, Geometry(disk.size, 65536), NamesCache(tmp_path / "names")) is None
    disk.close()
