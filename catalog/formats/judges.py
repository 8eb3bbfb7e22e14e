"""Is a header of this format safe to open, and how large is its disk: oslo.utils' inspectors, and what they leave out.

The one home of oslo.utils. An inspector gets the regions that it wants, each whole and once, instead of a stream: so a
header that lies about where things are costs no more than one that doesn't. Whatever it raises is a danger.

Beside its checks (backing and data files, unknown features, VMDKs whose data lies elsewhere, QED): disks that lie over
another one in VHD, VHDX and VDI, descriptors that are longer than is looked at, and sizes beyond 64 bits. It takes
qcow2's extended L2 tables for unknown; they only say how clusters are listed.
"""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING, Final

from oslo_utils.imageutils import format_inspector as oslo

from catalog.formats.questions import Finding, Span, Tail

if TYPE_CHECKING:
    from catalog.formats.questions import Inspection

_log = logging.getLogger("drystone.formats")
MOST_QUESTIONS: Final = 8
_LARGEST: Final = 2**63 - 1
_VHD_COOKIE: Final = b"conectix"
_VHD_KINDS: Final = {2: "fixed", 3: "dynamic"}
_VDI_KINDS: Final = {1: "dynamic", 2: "fixed"}
# The metadata item that says which disk a VHDX lies over, as its GUID stands in a file.
_VHDX_PARENT: Final = bytes.fromhex("2d5fd3a80bb34d45abf7d3d84834ab0c")
_LONGEST_DESCRIPTOR: Final = 64 * 1024 // 512
# It logs what it refuses, as long as that may be; who sent it is told in a sentence.
logging.getLogger(oslo.__name__).setLevel(logging.CRITICAL + 1)


class _Asking(oslo.FileInspector):
    """An inspector that says which bytes it wants, and takes them in any order."""

    def see(self, position: int, data: bytes) -> None:
        """The bytes from `position` on."""
        self._total_count = position
        self.eat_chunk(data)

    def wants(self) -> Span | None:
        """The rest of the first region, but for the end, that it does not have yet."""
        for region in self._capture_regions.values():
            if not isinstance(region, oslo.EndCaptureRegion) and not region.complete:
                return Span(region.offset + len(region.data), region.length - len(region.data))
        return None

    def tail(self) -> Tail | None:
        """The last bytes, if it wants them."""
        lengths = [each.length for each in self._capture_regions.values() if isinstance(each, oslo.EndCaptureRegion)]
        return Tail(max(lengths)) if lengths else None

    def own_danger(self) -> str | None:
        """What this service does not take beside what oslo.utils refuses."""
        return None


class _Qcow2(oslo.QcowInspector, _Asking):
    # Bits 0 to 4: dirty, corrupt, external data (refused by its own check), compression, extended L2.
    I_FEATURES_MAX_BIT = 5


class _Qed(oslo.QEDInspector, _Asking):
    pass


class _Vhd(oslo.VHDInspector, _Asking):
    def tail(self) -> Tail:
        return Tail(512)

    def own_danger(self) -> str | None:
        return vhd_danger(bytes(self.region("header").data))


class _Vhdx(oslo.VHDXInspector, _Asking):
    def own_danger(self) -> str | None:
        return "it lies over another disk" if _VHDX_PARENT in self.region("metadata").data else None


class _Vmdk(oslo.VMDKInspector, _Asking):
    def own_danger(self) -> str | None:
        (sectors,) = struct.unpack_from("<Q", self.region("header").data, 36)
        return "its descriptor is too long" if sectors > _LONGEST_DESCRIPTOR else None


class _Vdi(oslo.VDIInspector, _Asking):
    def own_danger(self) -> str | None:
        (kind,) = struct.unpack_from("<I", self.region("header").data, 0x4C)
        return None if kind in _VDI_KINDS else "it lies over another disk"


_INSPECTORS: Final[dict[str, type[_Asking]]] = {
    "qcow2": _Qcow2, "qed": _Qed, "vhd": _Vhd, "vhdx": _Vhdx, "vmdk": _Vmdk, "vdi": _Vdi,
}  # fmt: skip


def judged(name: str, head: bytes) -> Inspection:
    """Look further into what looks like this format from its first bytes."""
    inspector = _INSPECTORS[name]()
    try:
        inspector.see(0, head)
        for _ in range(MOST_QUESTIONS):
            if (wanted := inspector.wants()) is None:
                break
            region = yield wanted
            inspector.see(wanted.start, region)
        danger = inspector.own_danger()
        if danger is None and (tail := inspector.tail()) is not None:
            end = yield tail
            inspector.see(0, end)
            danger = vhd_danger(end) if name == "vhd" else None
        inspector.finish()
        if danger is None:
            inspector.safety_check()
        size = inspector.virtual_size
    except oslo.SafetyCheckFailed as failed:
        return Finding(name, danger="; ".join(sorted({str(each) for each in failed.failures.values()}))[:200])
    except Exception as error:  # noqa: BLE001 - whatever a hostile header makes of it, it is not to be opened
        # What is said of it there, or by Python, is no sentence for whoever sent it.
        _log.info("a header that looks like %s cannot be read: %r", name, error)
        return Finding(name, danger="its header makes no sense")
    if danger is None and not 0 <= size <= _LARGEST:
        danger = f"it says that it is a disk of {size} bytes"
    return Finding(name, danger, None if danger else size)


def vhd_danger(footer: bytes) -> str | None:
    """Whether a footer of a VHD, or its copy at the beginning, says that the disk lies over another one."""
    kind = struct.unpack_from(">I", footer, 60)[0]
    return None if not footer.startswith(_VHD_COOKIE) or kind in _VHD_KINDS else "it lies over another disk"
