"""What every converter owes, as tests; a test module inherits them and gives the fixtures.

- `converter`: a converter.
- `file_of`: makes a file of a format, with this disk, as the converter reads it.
- `disk_of`: the disk in such a file.
- `packed`: this file, compressed as the converter unpacks it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from catalog.conversion_ports import SOURCES, TARGETS, Disk
from catalog.model.errors import ConversionRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from catalog.conversion_ports import Converter

SIZE = 1 << 20
DISK = (b"\0" * 65536 + bytes(range(256)) * 256) * (SIZE // 131072)


def unheard(_: float) -> None:
    """Progress that nobody looks at."""


class ConverterContract:
    @pytest.fixture
    def room(self, tmp_path: Path) -> Path:
        tmp_path.chmod(0o700)
        return tmp_path

    def test_it_can(self, converter: Converter) -> None:
        converter.check()

    @pytest.mark.parametrize("disk_format", SOURCES)
    def test_what_comes_in_comes_out_as_raw(
        self, converter: Converter, room: Path, disk_format: str, file_of: Callable[[str, bytes], bytes]
    ) -> None:
        (room / "source").write_bytes(file_of(disk_format, DISK))
        heard: list[float] = []

        async def scene() -> None:
            found = await converter.inspect(room / "source", disk_format)
            assert found == Disk(disk_format, SIZE)
            made = await converter.convert(room, found, "source", "target", "raw", progress=heard.append)
            assert made == Disk("raw", SIZE)

        asyncio.run(scene())
        assert (room / "target").read_bytes() == DISK
        assert heard[-1] == 1.0
        assert heard == sorted(heard)

    @pytest.mark.parametrize(
        ("disk_format", "compressed"), [*((each, False) for each in TARGETS), ("qcow2", True), ("vmdk", True)]
    )
    def test_a_raw_disk_comes_out_as_what_is_asked_for(
        self,
        converter: Converter,
        room: Path,
        disk_format: str,
        *,
        compressed: bool,
        disk_of: Callable[[str, Path], bytes],
    ) -> None:
        (room / "source").write_bytes(DISK)

        async def scene() -> None:
            made = await converter.convert(
                room, Disk("raw", SIZE), "source", "target", disk_format, compressed=compressed, progress=unheard
            )
            assert made == Disk(disk_format, SIZE)

        asyncio.run(scene())
        assert disk_of(disk_format, room / "target") == DISK

    def test_what_is_not_of_its_format_is_refused(self, converter: Converter, room: Path) -> None:
        (room / "source").write_bytes(DISK)
        with pytest.raises(ConversionRefused):
            asyncio.run(converter.inspect(room / "source", "qcow2"))
        with pytest.raises(ConversionRefused):
            asyncio.run(converter.inspect(room / "source", "iso"))

    def test_what_cannot_be_written_is_refused_and_leaves_nothing(self, converter: Converter, room: Path) -> None:
        (room / "source").write_bytes(DISK)
        for target_format, compressed in (("vdi", False), ("raw", True), ("vhdx", True), ("iso", False)):
            with pytest.raises(ConversionRefused):
                asyncio.run(
                    converter.convert(
                        room, Disk("raw", SIZE), "source", "target", target_format,
                        compressed=compressed, progress=unheard,
                    )
                )  # fmt: skip
        assert [each.name for each in room.iterdir()] == ["source"]

    def test_a_file_that_is_there_is_never_written_over(
        self, converter: Converter, room: Path, packed: Callable[[bytes], bytes]
    ) -> None:
        (room / "source").write_bytes(DISK)
        (room / "packed").write_bytes(packed(DISK))
        (room / "target").write_bytes(b"mine")
        source = Disk("raw", SIZE)
        with pytest.raises(FileExistsError):
            asyncio.run(converter.convert(room, source, "source", "target", "raw", progress=unheard))
        with pytest.raises(FileExistsError):
            asyncio.run(converter.unpack(room, "packed", "target", cap=SIZE))
        assert (room / "target").read_bytes() == b"mine"

    def test_what_was_compressed_is_unpacked_up_to_the_cap_and_no_further(
        self, converter: Converter, room: Path, packed: Callable[[bytes], bytes]
    ) -> None:
        (room / "source").write_bytes(packed(DISK))
        with pytest.raises(ConversionRefused):
            asyncio.run(converter.unpack(room, "source", "target", cap=SIZE - 1))
        assert not (room / "target").exists()
        assert asyncio.run(converter.unpack(room, "source", "target", cap=SIZE)) == "gzip"
        assert (room / "target").read_bytes() == DISK
