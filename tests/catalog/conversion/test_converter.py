"""Both converters owe the same: the one that is used, and the double that jobs are tested with."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import pytest

from catalog.conversion import qemu_img
from catalog.conversion.cage import CageLimits
from catalog.conversion.converter import CagedConverter
from catalog.conversion_ports import SOURCES, TARGETS, Disk
from catalog.model.errors import ConversionRefused, ConversionUnavailable, StoreFull
from tests.contracts.converter import DISK, SIZE, ConverterContract, unheard
from tests.kit.caged_processes import working_in
from tests.kit.hostile_files import cut, many_times_qcow2
from tests.kit.played_converter import PlayedConverter, marked, packed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from catalog.conversion_ports import Converter

LIMIT = 1 << 40


def caged(**limits: object) -> CagedConverter:
    return CagedConverter(CageLimits(**{"reserve": 0, **limits}), longest=LIMIT)  # type: ignore[arg-type]


def run(converter: Converter, room: Path, source: Disk, target: str = "raw", *, compressed: bool = False) -> Disk:
    return asyncio.run(
        converter.convert(room, source, "source", "target", target, compressed=compressed, progress=unheard)
    )


class TestQemuImg(ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return caged()

    @pytest.fixture
    def file_of(self, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bytes], bytes]:
        def made(disk_format: str, disk: bytes) -> bytes:
            folder = tmp_path_factory.mktemp("made")
            (folder / "plain").write_bytes(disk)
            names = (str(folder / "plain"), str(folder / "made"))
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", disk_format, *names], check=True, timeout=60)
            return (folder / "made").read_bytes()

        return made

    @pytest.fixture
    def disk_of(self, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], bytes]:
        def found(disk_format: str, file: Path) -> bytes:
            plain = tmp_path_factory.mktemp("found") / "plain"
            subprocess.run(["qemu-img", "convert", "-f", disk_format, "-O", "raw", file, plain], check=True, timeout=60)
            return plain.read_bytes()

        return found

    @pytest.fixture
    def packed(self) -> Callable[[bytes], bytes]:
        return gzip.compress


class TestThePlayedOne(ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return PlayedConverter()

    @pytest.fixture
    def file_of(self) -> Callable[[str, bytes], bytes]:
        return marked

    @pytest.fixture
    def disk_of(self) -> Callable[[str, Path], bytes]:
        return lambda disk_format, file: file.read_bytes().removeprefix(marked(disk_format, b""))

    @pytest.fixture
    def packed(self) -> Callable[[bytes], bytes]:
        return partial(packed, "gzip")


def test_what_is_read_and_written_is_what_the_contract_says() -> None:
    assert tuple(qemu_img.FORMATS) == SOURCES
    assert [each for each in SOURCES if qemu_img.convertible(each, compressed=False)] == list(TARGETS)


def test_a_raw_file_is_sparse_where_the_disk_is(tmp_path: Path) -> None:
    with (tmp_path / "source").open("wb") as file:
        file.write(b"\1" * 65536)
        file.truncate(64 << 20)
    run(caged(), tmp_path, Disk("raw", 64 << 20))
    made = (tmp_path / "target").stat()
    assert made.st_size == 64 << 20
    assert made.st_blocks * 512 <= 1 << 20


@pytest.mark.parametrize(("target", "compressed"), [("qcow2", False), ("qcow2", True), ("vmdk", True)])
def test_the_same_disk_becomes_the_same_bytes_so_that_they_are_stored_once(
    tmp_path: Path, target: str, *, compressed: bool
) -> None:
    (tmp_path / "source").write_bytes(DISK)
    made = []
    for _ in range(2):
        run(caged(), tmp_path, Disk("raw", SIZE), target, compressed=compressed)
        made.append((tmp_path / "target").read_bytes())
        (tmp_path / "target").unlink()
    first, second = made
    # A vmdk has a random number of its own.
    assert first == second or (target == "vmdk" and first[2048:] == second[2048:])


@pytest.mark.parametrize(("target", "compressed"), [("raw", False), ("qcow2", True), ("vmdk", True)])
def test_the_least_memory_that_may_be_set_is_enough(tmp_path: Path, target: str, *, compressed: bool) -> None:
    (tmp_path / "source").write_bytes(DISK)
    run(caged(memory=768 << 20), tmp_path, Disk("raw", SIZE), target, compressed=compressed)


def test_a_disk_comes_out_in_whole_sectors(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"\1" * 1000)
    assert run(caged(), tmp_path, Disk("raw", 1000)) == Disk("raw", 1024)
    assert (tmp_path / "target").read_bytes() == b"\1" * 1000 + b"\0" * 24


def test_a_file_that_breaks_in_the_middle_leaves_no_new_one(tmp_path: Path) -> None:
    data = bytearray(cut("vmdk", options="subformat=streamOptimized", keep=1))
    data[len(data) // 2 : len(data) // 2 + 4096] = b"\xff" * 4096
    (tmp_path / "source").write_bytes(data)
    with pytest.raises(ConversionRefused, match="cannot be read as vmdk"):
        run(caged(), tmp_path, Disk("vmdk", 3 << 20))
    assert [each.name for each in tmp_path.iterdir()] == ["source"]


def test_what_would_not_fit_on_the_disk_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(many_times_qcow2(counted=True))
    converter = caged(reserve=shutil.disk_usage(tmp_path).free - (512 << 20))
    source = asyncio.run(converter.inspect(tmp_path / "source", "qcow2"))
    assert source == Disk("qcow2", 1 << 30)
    with pytest.raises(StoreFull, match="not enough room"):
        run(converter, tmp_path, source)
    assert [each.name for each in tmp_path.iterdir()] == ["source"]


def test_a_disk_that_is_longer_than_what_is_converted_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "source").open("wb") as file:
        file.truncate(LIMIT + 512)
    with pytest.raises(ConversionRefused, match="more than is converted here"):
        asyncio.run(caged().inspect(tmp_path / "source", "raw"))


def test_a_conversion_that_is_cancelled_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(many_times_qcow2(counted=True))
    heard = asyncio.Event()

    async def scene() -> None:
        work = asyncio.create_task(
            caged().convert(
                tmp_path, Disk("qcow2", 1 << 30), "source", "target", "qcow2",
                compressed=True, progress=lambda _: heard.set(),
            )
        )  # fmt: skip
        await heard.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(scene())
    assert [each.name for each in tmp_path.iterdir()] == ["source"]
    assert not working_in(tmp_path)


def test_without_qemu_img_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConversionUnavailable, match="apt install qemu-utils"):
        caged().check()


@pytest.mark.parametrize("name", ["../source", "nbd:x", "-x", "json:{}", "a,b", ".source", ""])
def test_no_name_is_taken_for_anything_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        asyncio.run(caged().convert(tmp_path, Disk("raw", 512), name, "target", "raw", progress=unheard))
    (tmp_path / "source").write_bytes(DISK)
    with pytest.raises(ValueError, match="plain file name"):
        asyncio.run(caged().convert(tmp_path, Disk("raw", SIZE), "source", name, "raw", progress=unheard))


@pytest.mark.parametrize("disk_format", ["raw", "qcow2", "vhdx"])
def test_a_long_disk_with_little_in_it_needs_little_room(tmp_path: Path, disk_format: str) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", disk_format, tmp_path / "source", "1T"], check=True, timeout=60)
    converter = caged(reserve=shutil.disk_usage(tmp_path).free - (256 << 20))
    source = asyncio.run(converter.inspect(tmp_path / "source", disk_format))
    assert source == Disk(disk_format, 1 << 40)

    async def scene() -> None:
        begun = asyncio.Event()
        work = asyncio.create_task(
            converter.convert(tmp_path, source, "source", "target", "raw", progress=lambda _: begun.set())
        )
        # A VHDX does not tell where it has nothing, so all of it is looked through.
        waits = asyncio.create_task(begun.wait())
        await asyncio.wait({work, waits}, return_when=asyncio.FIRST_COMPLETED)
        assert begun.is_set()
        work.cancel()
        waits.cancel()
        await asyncio.wait({work, waits})

    asyncio.run(scene())
