"""The port `Converter` without a program: formats are marks before the disk's bytes, compression is its magic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.conversion_ports import COMPRESSIBLE, SOURCES, TARGETS, Disk
from catalog.model.errors import ConversionRefused, ConversionUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

_PACKED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}


def marked(disk_format: str, disk: bytes) -> bytes:
    """A file of this format, as the double understands it."""
    return disk if disk_format == "raw" else b"<%s>" % disk_format.encode() + disk


def packed(compression: str, data: bytes) -> bytes:
    """The same of a compression."""
    return next(magic for magic, name in _PACKED.items() if name == compression) + data


class PlayedConverter:
    """Does what the contract says to `marked` files; a test may say what goes wrong.

    `missing`: what `check` says is not installed. `error` is raised by the next `convert` or `unpack`, once.
    `in_the_middle` runs in `convert` and `unpack`, after half of the new file is there. `calls`: what they did.
    """

    def __init__(self) -> None:
        self.missing: str | None = None
        self.error: Exception | None = None
        self.in_the_middle: Callable[[Path], Awaitable[None]] | None = None
        self.calls: list[tuple[str, str]] = []

    def check(self) -> None:
        if self.missing is not None:
            raise ConversionUnavailable(self.missing)

    async def inspect(self, file: Path, disk_format: str) -> Disk:
        self.check()
        if disk_format not in SOURCES:
            raise ConversionRefused(f"Images of disk_format {disk_format} cannot be converted.")
        data, mark = file.read_bytes(), marked(disk_format, b"")
        if not data.startswith(mark):
            raise ConversionRefused(f"The file is said to be {disk_format}, and is not.")
        return Disk(disk_format, len(data) - len(mark))

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
        self.check()
        if target_format not in TARGETS or (compressed and target_format not in COMPRESSIBLE):
            raise ConversionRefused(f"Images cannot be converted to {target_format}.")
        disk = (room / source_name).read_bytes()[len(marked(source.format, b"")) :]
        progress(0.0)
        await self._write(room / target_name, marked(target_format, disk), target_format)
        progress(1.0)
        return Disk(target_format, len(disk))

    async def unpack(self, room: Path, source_name: str, target_name: str, *, cap: int) -> str:
        self.check()
        data = (room / source_name).read_bytes()
        for mark, name in _PACKED.items():
            if data.startswith(mark):
                if len(data) - len(mark) > cap:
                    raise ConversionRefused(f"Unpacked, the file is longer than {cap} bytes.")
                await self._write(room / target_name, data[len(mark) :], name)
                return name
        raise ConversionRefused("The file is not compressed as this service knows it: gzip, xz, zstd or zip.")

    async def _write(self, target: Path, data: bytes, what: str) -> None:
        self.calls.append((what, target.name))
        with target.open("xb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            try:
                if self.in_the_middle is not None:
                    await self.in_the_middle(target)
                self._break()
            except BaseException:
                target.unlink()
                raise
            file.write(data[len(data) // 2 :])

    def _break(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error
