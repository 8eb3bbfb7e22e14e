"""How an image's bytes are cut into blocks, decided by its formats, or by the property that says otherwise.

Fixed blocks where bytes keep their places from one version to the next, content-defined ones where they shift:

- raw, vhd, vhdx, vmdk, vdi, ploop, and the kernels, ramdisks and disks ami, aki, ari are written in place; blocks of
  one size, aligned at 0, find what stayed and can be a base of increments.
- qcow2 allocates clusters of 64 KiB and appends new ones; its data is aligned to them, so fixed blocks fit it, too.
- iso is written anew as a whole: a file that grew moves all that comes after it.
- ova and docker are archives (tar): the same, with a header before each file.
- compressed may hold anything in any compression: a change moves all that comes after it, but what comes before it,
  and what is compressed in independent pieces, keeps its content if not its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog.model.errors import Invalid
from chunker.cutting import CHOICES, CutKind, Cutting, CuttingRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.model.image import Image

PROPERTY: Final = "drystone_cutting"
"""An extra property that overrides what the formats suggest."""
SHIFTING_DISKS: Final = frozenset({"iso"})
SHIFTING_CONTAINERS: Final = frozenset({"ova", "docker", "compressed"})


def cutting_of(image: Image, block_size: int) -> Cutting:
    """How this image's bytes are to be cut; `block_size` in bytes where fixed blocks are meant and no size is said.

    Raises Invalid when the property is none that can be read.
    """
    wish = _wished(image.properties, block_size)
    if wish is not None:
        return wish
    if image.disk_format in SHIFTING_DISKS or image.container_format in SHIFTING_CONTAINERS:
        return Cutting.parse(CutKind.CONTENT_DEFINED.value)
    return Cutting(CutKind.FIXED, block_size)


def check_cutting(properties: Mapping[str, str]) -> None:
    """Refuse properties whose wish can't be fulfilled: Invalid, with what is possible."""
    _wished(properties)


def _wished(properties: Mapping[str, str], block_size: int | None = None) -> Cutting | None:
    text = properties.get(PROPERTY)
    if text is None:
        return None
    try:
        return Cutting.parse(text) if block_size is None else Cutting.parse(text, usual=block_size)
    except CuttingRefused:
        raise Invalid(f"Invalid {PROPERTY} {text[:80]!r}; it is {CHOICES}.") from None
