"""Copies in stores that no image has: not yet, or not any more."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class LooseState(StrEnum):
    """A copy is being written by somebody, or is to be removed from its store."""

    WRITING = "writing"
    DOOMED = "doomed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LooseCopy:
    """One copy at `url` in `store`, recorded before its first byte is written, until it is an image's or removed.

    So each copy that there is in a store is named by an image's location, by a kept image, or by one of these.
    `holder` is the id of the job, or of the upload, that writes it, `process` the name of the lock of its process.
    """

    url: str
    store: str
    image_id: str
    holder: str
    process: str
    since: datetime
    state: LooseState = LooseState.WRITING
