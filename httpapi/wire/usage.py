"""A project's usage and limits as they travel, by the reference's names: sizes in whole MiB, -1 for no limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES: Final = {
    "bytes": "image_size_total",
    "staged_bytes": "image_stage_total",
    "images": "image_count_total",
    "uploads": "image_count_uploading",
}
"""The reference's name of each of our quotas."""

_MIB: Final = 1 << 20
_NO_LIMIT: Final = -1


class Used(NamedTuple):
    """What is used of a quota, and its bound, if it has one."""

    usage: int
    limit: int | None


def usage_document(found: Mapping[str, Used]) -> Mapping[str, object]:
    """The document for these quotas, by our names."""
    return {"usage": {NAMES[name]: _told(name, found[name]) for name in NAMES if name in found}}


def _told(name: str, used: Used) -> Mapping[str, int]:
    unit = _MIB if name.endswith("bytes") else 1
    return {"usage": used.usage // unit, "limit": _NO_LIMIT if used.limit is None else used.limit // unit}
