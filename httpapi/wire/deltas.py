"""Delta uploads as they travel: what begins one, what is told of one, what commits one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore.sent_blocks import MOST_BLOCKS_SENT, NumberRange
from httpapi.wire.block_stream import LARGEST_REQUEST
from httpapi.wire.errors import BadRequest
from httpapi.wire.images import ROOT
from httpapi.wire.number_ranges import ranges_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

MANIFEST_TYPE = "application/vnd.drystone.manifest"
MANIFEST_HEADER = "x-drystone-manifest"
"""The digest of the flat manifest in the body, in hex."""
MOST_RANGES = 16_384
"""Ranges of what has arrived in one answer."""


@dataclass(frozen=True, slots=True)
class NewDelta:
    """What begins a delta upload; sizes in bytes, `base` an image's id."""

    size: int
    base: str | None = None
    block_size: int | None = None

    def to_json(self) -> dict[str, object]:
        """The JSON object, without what is not said."""
        given = {"size": self.size, "base": self.base, "block_size": self.block_size}
        return {key: value for key, value in given.items() if value is not None}


def parse_new_delta(document: Mapping[str, object]) -> NewDelta:
    """Read what begins an upload; raises BadRequest."""
    _check_keys(document, {"size", "base", "block_size"})
    base = document.get("base")
    if base is not None and not isinstance(base, str):
        raise BadRequest("base must be an image's id.")
    size = _number(document, "size")
    if size is None:
        raise BadRequest("size must be said: how many bytes the image has.")
    return NewDelta(size, base, _number(document, "block_size"))


def parse_commit(document: Mapping[str, object]) -> int | None:
    """How many blocks have arrived as far as the client knows, if it says so; raises BadRequest."""
    _check_keys(document, {"blocks"})
    return _number(document, "blocks")


def parse_wanted(document: Mapping[str, object]) -> object:
    """The ranges that a request for blocks has, still to be read by `parse_ranges`; raises BadRequest."""
    _check_keys(document, {"blocks"})
    return document.get("blocks")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaRecord:
    """What the API tells of one delta upload; sizes in bytes, the time as on the wire."""

    id: str
    image: str
    size: int
    block_size: int
    base: str | None
    expires_at: str
    request_bytes: int = LARGEST_REQUEST
    request_blocks: int = MOST_BLOCKS_SENT

    @property
    def path(self) -> str:
        """Where it is, below the endpoint."""
        return f"{ROOT}/images/{self.image}/deltas/{self.id}"

    def to_json(self) -> dict[str, object]:
        """The JSON object."""
        return {
            "id": self.id,
            "image": self.image,
            "size": self.size,
            "block_size": self.block_size,
            "base": self.base,
            "expires_at": self.expires_at,
            "request_bytes": self.request_bytes,
            "request_blocks": self.request_blocks,
        }


@dataclass(frozen=True, slots=True)
class Arrived:
    """A page of what has arrived: ranges, how many blocks in all, and the number that the next page begins with."""

    ranges: Sequence[NumberRange]
    blocks: int
    next: int | None = None

    def to_json(self, record: DeltaRecord) -> dict[str, object]:
        """The upload's JSON object with this page in it."""
        document = record.to_json() | {"arrived": ranges_json(self.ranges), "blocks": self.blocks}
        return document if self.next is None else document | {"next": f"{record.path}?from={self.next}"}


def parse_delta(document: Mapping[str, object]) -> DeltaRecord:
    """The record in a server's JSON object; raises KeyError or TypeError when something is missing."""
    base = document["base"]
    numbers = {name: _whole(document[name]) for name in ("size", "block_size", "request_bytes", "request_blocks")}
    return DeltaRecord(
        id=str(document["id"]),
        image=str(document["image"]),
        base=None if base is None else str(base),
        expires_at=str(document["expires_at"]),
        **numbers,
    )


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _check_keys(document: Mapping[str, object], known: Collection[str]) -> None:
    for key in document:
        if key not in known:
            raise BadRequest(f"{key[:80]!r} is not expected here; possible: {', '.join(sorted(known))}.")


def _number(document: Mapping[str, object], key: str) -> int | None:
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise BadRequest(f"{key} must be a whole number, 0 or more.")
    return value
