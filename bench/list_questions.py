"""What can be asked of a list: each filter, order and scope by itself, of values that many, few and no images have."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from bench.many_images import FEW, LAB, MANY, MIDDLE, NONE, SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Question: TypeAlias = tuple[tuple[str, str], ...]
"""Parameters of a list."""

SORT_KEYS: Final = ("created_at", "updated_at", "name", "status", "size", "disk_format", "container_format", "id")

_NUMBERS: Final = ("size", "virtual_size", "min_disk", "min_ram")
_TEXTS: Final = (
    "id", "name", "status", "container_format", "disk_format", "owner", "checksum", "os_hash_value", "os_hash_algo",
    "parent_image_ref",
)  # fmt: skip
_MOMENT: Final = f"{MIDDLE:%Y-%m-%dT%H:%M:%SZ}"


def every_question(values: Mapping[str, str]) -> Iterator[Question]:
    """All of them; `values` are the attributes of some image."""
    yield ()
    yield from chain(_orders(), _equalities(values), _ranges(values), _scopes(), _times(), _properties_and_tags())


def _orders() -> Iterator[Question]:
    for key in SORT_KEYS:
        for direction in ("asc", "desc"):
            yield (("sort", f"{key}:{direction}"),)


def _equalities(values: Mapping[str, str]) -> Iterator[Question]:
    for name in _TEXTS:
        yield ((name, values[name]),)
        yield ((name, NONE),)
    for name in _NUMBERS:
        yield ((name, values[name]),)
        yield ((name, "7"),)
    for flag in ("protected", "os_hidden"):
        yield ((flag, "true"),)
        yield ((flag, "false"),)
    yield (("name", MANY),)
    yield (("name", FEW),)
    yield (("name", f"in:{MANY},{FEW},{NONE}"),)
    yield (("name", f"in:{FEW},{NONE}"),)
    yield (("status", "in:active,queued"),)
    yield (("status", "queued"),)
    yield (("owner", SMALL),)


def _ranges(values: Mapping[str, str]) -> Iterator[Question]:
    for name in _NUMBERS:
        for value in ("1", values[name], str(2**50)):
            yield ((f"{name}_min", value),)
            yield ((f"{name}_max", value),)


def _scopes() -> Iterator[Question]:
    for visibility in ("public", "private", "shared", "community", "all"):
        yield (("visibility", visibility),)
    for status in ("all", "pending", "rejected"):
        yield ("visibility", "shared"), ("member_status", status)


def _times() -> Iterator[Question]:
    for key in ("created_at", "updated_at"):
        for operator in ("gt", "gte", "lt", "lte", "eq", "neq"):
            yield ((key, f"{operator}:{_MOMENT}"),)
        yield ((key, "gt:2030-01-01T00:00:00Z"),)
        yield ((key, "lt:2000-01-01T00:00:00Z"),)
        yield (key, f"gte:{_MOMENT}"), (key, "lt:2025-06-02T00:00:00Z")


def _properties_and_tags() -> Iterator[Question]:
    for tag in (MANY, FEW, NONE):
        yield (("tag", tag),)
    yield ("tag", MANY), ("tag", "other")
    yield ("tag", MANY), ("tag", FEW)
    # Half of the images, all, one of forty, thirty, and none.
    for name, value in (
        ("os_distro", MANY),
        ("hw_vif_model", "virtio"),
        ("os_version", "7"),
        ("role", FEW),
        ("role", NONE),
    ):
        yield ((name, value),)
    yield (("unheard_of", NONE),)
    yield ("os_distro", MANY), ("architecture", "x86_64")
    yield ("owner", LAB), ("os_distro", MANY)
