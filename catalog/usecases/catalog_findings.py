"""What `admin verify` finds wrong in the catalog itself, and between it and what the store has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blockstore.findings import Finding
from catalog.usecases import quotas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blockstore.roots import Roots
    from catalog.inventory import HeldImage
    from catalog.ports import UnitOfWork

WITH_DATA: Final = frozenset({"active", "deactivated", "deleted"})
"""The statuses of images that have bytes, kept ones among them."""

_CATALOG: Final = "catalog"


def of_records(uow: UnitOfWork) -> Sequence[Finding]:
    """Images that cannot be read from anywhere, and usage of quotas that was miscounted."""
    nowhere = "has no place that it can be read from: all its copies are lost, or it has none"
    found = [f"image {image_id} {nowhere}" for image_id in uow.inventory.without_place()]
    return [Finding(_CATALOG, 0, 0, what) for what in (*found, *quotas.miscounted(uow))]


def of_images(images: Sequence[HeldImage], roots: Roots, store: str) -> Iterator[Finding]:
    """What an image says of its data must be what its manifest's record says."""
    for image in images:
        what = f"image {image.id}"
        if image.manifest is None:
            continue
        root = roots.live.get(image.manifest)
        if root is None:
            state = "retired" if image.manifest in roots.retired else "not known"
            yield Finding(_CATALOG, 0, 0, f"{what} has the manifest {image.manifest}, which is {state}")
        elif image.status in WITH_DATA and image.size != root.size:
            yield Finding(_CATALOG, 0, 0, f"{what} has {image.size} bytes, its manifest says {root.size}")
        if image.url != f"blocks://{store}/{image.manifest}":
            yield Finding(_CATALOG, 0, 0, f"{what} lies at {image.url}, which is not its manifest in this store")
