"""What a push is asked for and what comes of it; when a parent's blocks can be those of a new image."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Final

from httpapi.client.auth import place_of
from httpapi.client.names_cache import NamesCache
from httpapi.wire.images import CUTTING, PARENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from httpapi.client.block_file import Readable, Stamp
    from httpapi.client.block_names import ImageNames
    from httpapi.client.changed_extents import ChangedExtents
    from httpapi.wire.images import ImageRecord


MOST_BASES: Final = 16
"""So many further images may be named in one request."""


@dataclass(frozen=True, slots=True)
class PushWish:
    """How a push is to be done.

    `state` is a directory of the user's own, for what is remembered from one call to the next. `parent` is what the
    user says of it: an image, `none`, or nothing, which means the newest own image of the same name. `project` is the
    caller's, if known. `bases` are images with blocks of the file at other places; `touched` says which bytes may
    differ from the parent. `live` allows a file that is written to meanwhile. `keep`: after a failure a whole image
    that was begun is not deleted.
    """

    state: Path
    parent: str | None = None
    project: str | None = None
    bases: Sequence[str] = ()
    touched: ChangedExtents | None = None
    live: bool = False
    keep: bool = False

    @property
    def cache(self) -> NamesCache:
        """The names of unchanged files."""
        return NamesCache(self.state / "names")

    def keeping(
        self, endpoint: str, file: Readable, want: Mapping[str, object], others: Sequence[ImageRecord] = ()
    ) -> Keeping:
        """What a push of this file to this service keeps; `others` are the images that `bases` means."""
        path = os.path.realpath(file.name) if file.files else file.name
        return Keeping(
            directory=self.state / "pushes",
            what=(place_of(endpoint), path, json.dumps(want, sort_keys=True), self.parent or ""),
            cache=self.cache,
            touched=self.touched,
            others=others,
            live=self.live,
        )


@dataclass(frozen=True, slots=True)
class PushResult:
    """The image as the server records it; `verified` says whether it was compared with the source by a hash.

    `unchanged` are bytes that an older image had already, `sent` bytes that went through the network.
    """

    image: ImageRecord
    size: int
    seconds: float
    verified: bool
    unchanged: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a push keeps and what it trusts.

    `directory` is where pushes under way are remembered, `what` tells this one from others: the same texts mean the
    same push. `cache` has the names of files that were scanned before. `touched` says which bytes may differ from the
    parent, None if all may. `others` are further images with blocks of the file, wherever these are in them. `live`:
    the file may change while it is read.
    """

    directory: Path
    what: tuple[str, ...]
    cache: NamesCache | None = None
    touched: ChangedExtents | None = None
    others: Sequence[ImageRecord] = ()
    live: bool = False


def unfit(base: ImageNames, parent: ImageRecord, want: Mapping[str, object]) -> str | None:
    """Why this parent's blocks can't be those of the new image, as a sentence's beginning; None if they can."""
    if not base.header.is_fixed:
        return f"image {parent.id} is cut where its content says so"
    formats = (parent.disk_format, parent.container_format)
    if formats != (want.get("disk_format"), want.get("container_format")):
        return f"image {parent.id} has other formats"
    wish = want.get(CUTTING)
    if wish is None:
        return None
    from chunker.cutting import Cutting, CuttingRefused

    with suppress(CuttingRefused):
        cutting = Cutting.parse(str(wish))
        if cutting.is_fixed and cutting.size == base.header.block_size:
            return None
    return f"image {parent.id} is cut otherwise than {wish}"


def is_as_wanted(image: ImageRecord, want: Mapping[str, object], parent: str) -> bool:
    """Whether it is what a create with these attributes over this parent makes: all of them, and no other property."""
    wanted = {key: value for key, value in {**want, PARENT: parent}.items() if key not in {"id", "tags"}}
    record, tags = image.to_json(), want.get("tags", [])
    return (
        all(record.get(key) == value for key, value in wanted.items())
        and isinstance(tags, list)
        and set(image.tags) == set(tags)
        and set(image.properties) <= set(want)
    )


def plain(stamp: Stamp | None) -> list[int] | None:
    """A stamp as it is written down."""
    return None if stamp is None else list(astuple(stamp))


def key_of(what: Sequence[str]) -> str:
    """The name under which a push is remembered."""
    return hashlib.sha256("\0".join(what).encode(errors="surrogateescape")).hexdigest()[:32]
