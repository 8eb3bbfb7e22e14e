"""What a caller may say of an image that is to be created."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from catalog.model.image import Visibility

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """The attributes of an image to be created; `id` None asks for a new one, `owner` None is the caller's project."""

    id: str | None = None
    name: str | None = None
    owner: str | None = None
    visibility: Visibility = Visibility.SHARED
    protected: bool = False
    os_hidden: bool = False
    disk_format: str | None = None
    container_format: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    parent_image_ref: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
