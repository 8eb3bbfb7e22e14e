"""A pin: a durable root for blocks that are not yet an image's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class UploadKind(StrEnum):
    """How bytes arrive: a stream dies with its process, a session waits for its client, a job's go with that job."""

    STREAM = "stream"
    SESSION = "session"
    JOB = "job"


class PinState(StrEnum):
    """A pin is live until its row is deleted."""

    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Pin:
    """One pin's record.

    `id` names its journal; `upload_id` is the upload's id, or of a job's pin its task's. `owner` is the project that
    pays for it; `process` names the lock of the process that writes. `expires_at` None: the pin lives as long as that
    process does, or that job. `reserved`: bytes that count for the owner's quotas until the pin goes.
    """

    id: str
    owner: str | None
    kind: UploadKind
    image_id: str
    process: str
    upload_id: str
    expires_at: datetime | None = None
    state: PinState = PinState.LIVE
    reserved: int = 0
