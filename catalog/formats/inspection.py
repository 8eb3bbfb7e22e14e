"""Look at an image: first at what it resembles, then as far into it as that needs."""

from __future__ import annotations

import json
import struct
from typing import Final

from catalog.formats.questions import Finding, Inspection, Judges, Span, Tail
from catalog.formats.signatures import HEAD, resembles

_LUKS_SECTOR: Final = 512
_LUKS2_JSON: Final = 4096


def inspect(disk_format: str) -> Inspection:
    """What the bytes of an image are that is said to be of this format."""
    head = yield Span(0, HEAD)
    found = resembles(head)
    if found == {"iso", "gpt"}:
        # A disc that also boots from a stick has both.
        found = frozenset({"iso"})
    if len(found) > 1:
        return Finding("several", danger=f"it is several formats at once: {', '.join(sorted(found))}")
    if found <= {"gpt"}:
        plain = Finding("gpt" if found else "raw")
        return (yield from _fixed_vhd(plain)) if disk_format == "vhd" else plain
    [name] = found
    if name == "iso":
        return Finding(name)
    if name == "luks":
        return Finding(name, header=_luks_header(head))
    if name == "vmdk" and not head.startswith(b"KDMV"):
        return Finding(name, danger="it is a description alone, and names other files for its data")
    yield Judges()
    from catalog.formats.judges import judged

    return (yield from judged(name, head))


def _fixed_vhd(plain: Finding) -> Inspection:
    """A VHD of fixed size is the disk as it is, with a footer at its end."""
    footer = yield Tail(512)
    if not footer.startswith(b"conectix"):
        return plain
    size, kind = struct.unpack_from(">Q", footer, 48)[0], struct.unpack_from(">I", footer, 60)[0]
    if kind != 2:
        return Finding("vhd", danger="its beginning is missing")
    if size >= 2**63:
        return Finding("vhd", danger=f"it says that it is a disk of {size} bytes")
    return Finding("vhd", declared=size)


def _luks_header(head: bytes) -> int | None:
    """Where the encrypted disk begins, in bytes."""
    (version,) = struct.unpack_from(">H", head, 6)
    if version == 1:
        return int(struct.unpack_from(">I", head, 104)[0]) * _LUKS_SECTOR
    try:
        text = head[_LUKS2_JSON:].partition(b"\0")[0]
        return min(int(each["offset"]) for each in json.loads(text)["segments"].values())
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # Another version, or a header that is longer than what is looked at.
        return None
