"""An image as it travels: the record, its JSON, and the list around it.

Only the reference's own keys are sent, since clients turn what they do not know into properties; and
`parent_image_ref`, of images that were made with one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = "/v2"
CUTTING = "drystone_cutting"
"""The extra property that says how an image's bytes are cut into blocks."""

PARENT = "parent_image_ref"
"""The id of the image that an image was made from; told only where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """What the API tells of one image; sizes in bytes, `min_disk` in GB, `min_ram` in MB, times as on the wire."""

    id: str
    status: str
    visibility: str
    created_at: str
    updated_at: str
    name: str | None = None
    owner: str | None = None
    protected: bool = False
    os_hidden: bool = False
    disk_format: str | None = None
    container_format: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    parent_image_ref: str | None = None
    size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The JSON object that a server sends."""
        return image_json(self, self.tags, self.properties)


_BASE = tuple(each.name for each in fields(ImageRecord) if each.name not in {"tags", "properties", PARENT})
_base_of = attrgetter(*_BASE)
# What a server may add that is no property of the image.
_LINKS = frozenset({"self", "file", "schema", "stores", "direct_url", "locations"})


class HasBase(Protocol):
    """What has the base attributes of an image, under these names: those of ImageRecord."""

    @property
    def id(self) -> str:
        """The image's."""
        ...

    @property
    def parent_image_ref(self) -> str | None:
        """None: told of it is nothing."""
        ...


def image_json(
    image: HasBase, tags: Iterable[str], properties: Mapping[str, str], **other: object
) -> dict[str, object]:
    """The JSON object: extra properties at the top level, then the base attributes and the links.

    `other`: base attributes that have another form in `image` than on the wire.
    """
    path = f"{ROOT}/images/{image.id}"
    document = {**properties, **dict(zip(_BASE, _base_of(image), strict=True)), **other}
    if image.parent_image_ref is not None:
        document[PARENT] = image.parent_image_ref
    document["tags"] = list(tags)
    document["self"] = path
    document["file"] = f"{path}/file"
    document["schema"] = f"{ROOT}/schemas/image"
    return document


def parse_image(document: Mapping[str, object]) -> ImageRecord:
    """The record in a server's JSON object; keys that are not the reference's own are extra properties.

    Raises KeyError when an attribute that every image has is missing.
    """
    base = {name: document[name] for name in (*_BASE, PARENT) if name in document}
    for name in ("id", "status", "visibility", "created_at", "updated_at"):
        base[name] = document[name]
    tags = document.get("tags", [])
    known = {*_BASE, *_LINKS, PARENT, "tags"}
    return ImageRecord(
        **base,  # type: ignore[arg-type]  # the values are the server's; a client reads them as they come
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
        properties={name: str(value) for name, value in document.items() if name not in known},
    )


def list_links(query: Sequence[tuple[str, str]], *, last_id: str | None, noun: str = "images") -> dict[str, str]:
    """The links of a list: `first`, `next` when a page follows the image (or `noun`) `last_id`, and `schema`.

    Every parameter is kept, repeated ones too; only the marker changes. Lists that are ours alone have no schema.
    """
    kept = [(name, value) for name, value in query if name != "marker"]
    links = {"first": _list_path(noun, kept)}
    if last_id is not None:
        links["next"] = _list_path(noun, [*kept, ("marker", last_id)])
    if noun in {"images", "tasks"}:
        links["schema"] = f"{ROOT}/schemas/{noun}"
    return links


def _list_path(noun: str, query: Iterable[tuple[str, str]]) -> str:
    text = urlencode(list(query))
    return f"{ROOT}/{noun}?{text}" if text else f"{ROOT}/{noun}"
