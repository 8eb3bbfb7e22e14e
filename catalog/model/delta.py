"""A delta upload: an image that is made of blocks that arrive by number, and of those that a base has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Delta:
    """One delta upload's record; sizes in bytes.

    `id` is the upload's and its pin's. `base_image` is the image whose blocks are kept where none arrives, as it was
    named; what is read is the manifest that the pin holds. `requests` counts those that were acknowledged: a commit
    is of as many as it has seen.
    """

    id: str
    image_id: str
    size: int
    block_size: int
    base_image: str | None
    expires_at: datetime
    requests: int = 0
