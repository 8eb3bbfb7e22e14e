"""qemu-img in a cage: what it is asked, and what its answers mean.

A source is opened by a description that pins all of it: the format, that it is a plain file of the room, that it is
only read, and that nothing lies below it. So no name is ever taken for a protocol, and no header chooses the driver.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from catalog.conversion import programs
from catalog.conversion.endings import TOO_LONG, fault_of
from catalog.conversion.rooms import plain
from catalog.model.errors import ConversionFailed, ConversionRefused, StoreFull

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from catalog.conversion.cage import Cage, Ended

FORMATS: Final = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vhdx": "vhdx", "vdi": "vdi"}
"""A `disk_format`, and what QEMU calls it."""

_CHECKED: Final = frozenset({"qcow2", "vmdk", "vhdx"})
_MEASURED: Final = frozenset({"raw", "qcow2"})
"""Elsewhere it takes as long as a conversion, or knows no holes; there, data is not compressed, as a rule."""
_LEAKS, _NO_CHECK = 3, 63
_METADATA: Final = 64 << 20
"""Beside the disk's own bytes a file of any format has no more than this, and a sixty-fourth: a grain of a
stream-optimized VMDK that does not compress takes a 128th more."""

# All are written in order, so that the same disk becomes the same bytes, which are stored once; of a raw disk whole
# blocks of ours are holes or are not. The README has what was measured.
OPTIONS: Final[dict[tuple[str, bool], Sequence[str]]] = {
    ("raw", False): ("-S", "64k"),
    ("qcow2", False): (),
    ("qcow2", True): ("-c",),
    ("vmdk", False): ("-o", "subformat=monolithicSparse"),
    ("vmdk", True): ("-o", "subformat=streamOptimized"),
    ("vhdx", False): ("-o", "subformat=dynamic"),
}
"""How each target is written, compressed or not; what is not among them is not written."""
_PROGRESS: Final = re.compile(rb"\((\d+\.\d+)/100%\)")
_DESCRIPTION: Final = re.compile(r"'?json:\{.*?\}\}?'?(?=[:,. ]|$)")
_FULL: Final = ("No space left on device", "Disk quota exceeded")
_NOT_WRITTEN: Final = "while writing"
_BAD_DISK: Final = "Input/output error"


@dataclass(frozen=True, slots=True)
class Told:
    """What `qemu-img info` tells of a file."""

    virtual_size: int
    encrypted: bool
    leads_elsewhere: bool


def convertible(target_format: str, *, compressed: bool) -> bool:
    """Whether files of this format are written."""
    return (target_format, compressed) in OPTIONS


def longest(virtual_size: int) -> int:
    """The longest that a file with this disk can be, of any format that is written."""
    return virtual_size + virtual_size // 64 + _METADATA


class QemuImg:
    """The verbs that are used; each runs in the cage. Their errors are told in words for whoever sent the file."""

    def __init__(self, cage: Cage) -> None:
        self._cage = cage

    async def info(self, room: Path, name: str, disk_format: str) -> Told:
        """What it makes of the file's header. Raises ConversionRefused."""
        said = _document(await self._run(room, disk_format, "info", "--output=json", _opened(name, disk_format)))
        try:
            data = said.get("format-specific", {}).get("data", {})
            extents = [each["filename"] for each in data.get("extents", ())]
            size = int(said["virtual-size"])
        except (LookupError, TypeError, AttributeError) as error:
            raise _not_understood() from error
        return Told(
            size,
            encrypted=bool(said.get("encrypted", False)),
            leads_elsewhere="backing-filename" in said or "data-file" in data or any(each != name for each in extents),
        )

    async def check(self, room: Path, name: str, disk_format: str) -> None:
        """Raise ConversionRefused for a file whose tables are damaged, or lead beyond its end: it was cut short."""
        if disk_format not in _CHECKED:
            return
        ended = await self._cage.run(
            [programs.QEMU_IMG.path(), "check", "--output=json", _opened(name, disk_format)], room
        )
        if ended.by is not None or ended.code not in {0, _LEAKS, _NO_CHECK}:
            raise _fault(ended, disk_format, "check")

    async def measure(self, room: Path, name: str, disk_format: str) -> int:
        """About how many bytes a file takes that has this disk's data, as it is, and none of its holes."""
        if disk_format not in _MEASURED:
            return (room / plain(name)).lstat().st_blocks * 512
        # As qcow2: for a raw target it tells the disk's length.
        words = ("measure", "--output=json", "-O", "qcow2", _opened(name, disk_format))
        required = _document(await self._run(room, disk_format, *words)).get("required")
        if not isinstance(required, int):
            raise _not_understood()
        return required

    async def convert(
        self,
        room: Path,
        source: tuple[str, str, int],
        target: tuple[str, str],
        *,
        compressed: bool,
        progress: Callable[[float], None],
    ) -> None:
        """Write the disk in `source` (a name, a format, the disk's length) into `target`, which is there and empty."""
        name, disk_format, size = source
        new_name, new_format = target
        options = OPTIONS[new_format, compressed]
        command = ("convert", "-p", *options, "-O", FORMATS[new_format], _opened(name, disk_format), plain(new_name))
        await self._run(room, disk_format, *command, file_size=longest(size), heard=_parsed(progress))

    async def _run(
        self,
        room: Path,
        disk_format: str,
        *words: str,
        file_size: int = 0,
        heard: Callable[[bytes], None] | None = None,
    ) -> Ended:
        ended = await self._cage.run([programs.QEMU_IMG.path(), *words], room, file_size=file_size, heard=heard)
        if ended.by is not None or ended.code:
            raise _fault(ended, disk_format, words[0])
        return ended


def _opened(name: str, disk_format: str) -> str:
    file = {"driver": "file", "filename": plain(name)}
    return "json:" + json.dumps({"driver": FORMATS[disk_format], "read-only": True, "backing": None, "file": file})


def _document(ended: Ended) -> dict[str, Any]:
    try:
        found = json.loads(ended.out)
    except ValueError as error:
        raise _not_understood() from error
    if not isinstance(found, dict):
        raise _not_understood()
    return found


def _not_understood() -> ConversionRefused:
    # As if the image had it in its hands.
    return ConversionRefused("What qemu-img tells of the image cannot be understood.")


def _parsed(progress: Callable[[float], None]) -> Callable[[bytes], None]:
    def heard(piece: bytes) -> None:
        if found := _PROGRESS.findall(piece):
            progress(float(found[-1]) / 100)

    return heard


def _fault(ended: Ended, disk_format: str, verb: str) -> Exception:
    """What became of a run that did not end well, as an error: the file's fault, or the machine's."""
    said = _sentence(ended.err)
    if any(each in said for each in _FULL):
        return StoreFull("The disk on which images are converted is full; make room there, or set another work_dir.")
    if (fault := fault_of(ended, "qemu-img")) is not None:
        return fault
    if _NOT_WRITTEN in said and _BAD_DISK in said:
        # Of reading it may be the file that is damaged: so qemu tells of that, too.
        return ConversionFailed("The disk on which images are converted cannot be written; see the system's log.")
    return ConversionRefused(TOO_LONG if "File too large" in said else _unreadable(said, disk_format, verb))


def _unreadable(said: str, disk_format: str, verb: str) -> str:
    if verb == "check":
        return (
            f"The image's tables are damaged, or it is cut short, as qemu-img finds: {said or 'it says no more'}. "
            "Send it again, or what `qemu-img check -r all` makes of it."
        )
    return f"The image cannot be read as {disk_format}. What qemu-img says of it: {said or 'nothing'}."


def _sentence(err: bytes) -> str:
    """The first line of what it said, without the description that it was given, and short."""
    lines = [line.strip() for line in err.decode(errors="replace").splitlines() if line.strip()]
    line = lines[0].removeprefix("qemu-img: ") if lines else ""
    line = "".join(each if each.isprintable() else "?" for each in _DESCRIPTION.sub("the image", line))
    return line[:300].rstrip(".")
