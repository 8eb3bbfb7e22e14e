"""The port `Converter`, by qemu-img and our own unpacking program, both in a cage."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from catalog.conversion import programs
from catalog.conversion.cage import Cage
from catalog.conversion.looking import check_length, looked_at
from catalog.conversion.qemu_img import QemuImg, convertible
from catalog.conversion.rooms import lend, new_file
from catalog.conversion.unpacking import unpacked
from catalog.conversion_ports import SOURCES, Disk
from catalog.model.errors import ConversionRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from catalog.conversion.cage import CageLimits


class CagedConverter:
    """As the contract; `longest` is the longest disk, in bytes, that is converted."""

    def __init__(self, limits: CageLimits, *, longest: int) -> None:
        self._cage = Cage(limits)
        self._qemu_img = QemuImg(self._cage)
        self.longest = longest

    def check(self) -> None:
        """As `Converter`."""
        programs.QEMU_IMG.path()
        self._cage.walls()

    def describe(self) -> str:
        """What converts here, and what its cage keeps from it. Raises ConversionUnavailable."""
        return f"{programs.QEMU_IMG.path()}, {self._cage.walls().describe()}"

    async def inspect(self, file: Path, disk_format: str) -> Disk:
        """As `Converter`: our own look first, since a foreign program that opens a file may open what it names."""
        if disk_format not in SOURCES:
            raise ConversionRefused(
                f"Images of disk_format {disk_format} are not converted: it must be one of {', '.join(SOURCES)}."
            )
        declared = await asyncio.to_thread(looked_at, file, disk_format, self.longest)
        room, name = file.parent, file.name
        lend(room, name, (await self._cage.known_walls()).guest)
        told = await self._qemu_img.info(room, name, disk_format)
        if told.leads_elsewhere:
            raise ConversionRefused("The image names other files, and is not converted without them: flatten it first.")
        if told.encrypted:
            raise ConversionRefused("The image is encrypted, and is not converted: only its owner has the key.")
        check_length(told.virtual_size, self.longest)
        if declared is not None and -(-declared // 512) * 512 != -(-told.virtual_size // 512) * 512:
            raise ConversionRefused("The image's header tells of two lengths of the disk, so it is damaged.")
        await self._qemu_img.check(room, name, disk_format)
        return Disk(disk_format, told.virtual_size)

    async def convert(
        self,
        room: Path,
        source: Disk,
        source_name: str,
        target_name: str,
        target_format: str,
        *,
        compressed: bool = False,
        progress: Callable[[float], None],
    ) -> Disk:
        """As `Converter`."""
        if not convertible(target_format, compressed=compressed):
            how = "compressed " if compressed else ""
            raise ConversionRefused(f"Images are not converted to {how}{target_format}.")
        guest = (await self._cage.known_walls()).guest
        lend(room, source_name, guest)
        if not compressed:
            self._cage.check_space(room, await self._qemu_img.measure(room, source_name, source.format))
        with new_file(room, target_name, guest):
            await self._qemu_img.convert(
                room,
                (source_name, source.format, source.virtual_size),
                (target_name, target_format),
                compressed=compressed,
                progress=progress,
            )
            return await self.inspect(room / target_name, target_format)

    async def unpack(self, room: Path, source_name: str, target_name: str, *, cap: int) -> str:
        """As `Converter`."""
        return await unpacked(self._cage, room, source_name, target_name, cap=cap)
