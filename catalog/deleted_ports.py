"""What the use cases need of deleted images: kept ones, and ids that were used; `sql/deleted_images.py` fulfils it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from catalog.model.deleted import Dropped, FormerImage, KeptImage, KeptPage, KeptQuery


class DeletedImages(Protocol):
    """Deleted images in one transaction.

    A kept image names its manifests as an image does, until it is restored or dropped. Both change nothing when it is
    not kept, so of several that want it exactly one gets it.
    """

    def keep(self, image_id: str, *, at: datetime) -> None:
        """Keep all that is recorded of an image which is there and is removed in this transaction."""
        ...

    def get(self, image_id: str) -> KeptImage | None:
        """The kept image, or None."""
        ...

    def former(self, image_id: str) -> FormerImage | None:
        """The deleted image whose id this was, kept or not; None for one that never was, or is there."""
        ...

    def restore(self, image_id: str) -> bool:
        """Bring the image back as it was kept, so that `Images` has it again; False when it is not kept."""
        ...

    def drop(self, image_id: str) -> Dropped | None:
        """Keep the image no longer. What it named, to be let go; None when it was not kept."""
        ...

    def due(self, deleted_by: datetime, most: int) -> Sequence[str]:
        """The ids of the first so many kept images that were deleted at this time or before, the oldest first."""
        ...

    def named(self, deleted_by: datetime) -> frozenset[str]:
        """All manifests that an image or a pin names, as if those deleted at this time or before were not kept."""
        ...

    def page(self, owner: str | None, query: KeptQuery, after: KeptImage | None) -> KeptPage:
        """The kept images of one owner, of all for None, that fit the query, the last deleted first, behind `after`."""
        ...
