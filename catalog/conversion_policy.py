"""Who may have an image converted: a new one is made, of bytes that the caller could have downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog import policy

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.model.image import Image


def may_convert(caller: Caller, image: Image, owner: str | None) -> bool:
    """Whether the caller may have an image made of this one, that `owner` then has; one without is the admins'."""
    may_read = policy.may_download(caller, image) and policy.allows(caller, "convert_image", image)
    return may_read and policy.may_create(caller, owner)
