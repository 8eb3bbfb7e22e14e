"""The rules of the places where images lie and of the ways to them, as `policy.DEFAULTS` has all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_STORES: Final[Mapping[str, str]] = {"stores_info_detail": "rule:service_api"}

_OF_IMAGES: Final[Mapping[str, str]] = {
    "get_image_location": "rule:owners_reader",
    "set_image_location": "rule:owners_member",
    "add_image_location": "rule:service_api or (role:member and project_id:%(owner)s)",
    "delete_image_location": "rule:context_is_admin",
    "fetch_image_location": "rule:service_api",
    "download_from_store": "rule:context_is_admin or (role:member and rule:shown)",
    "copy_image": "rule:context_is_admin",
    "sign_image_url": "rule:context_is_admin or (role:member and rule:shown)",
}

DEFAULTS: Final[Mapping[str, str]] = {**_OF_IMAGES, **_OF_STORES}

JUDGE_IMAGES: Final = tuple(_OF_IMAGES)
"""Those whose target is an image."""

JUDGE_CALLERS: Final = tuple(_OF_STORES)
"""Those whose target is the caller's project."""
