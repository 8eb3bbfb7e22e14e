"""Who may do what with the places where images lie, and the ways to them; `location_rules.py` has the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.policy import allows, may_download, owned_by, rules_of

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.model.image import Image


def may_prefer(caller: Caller, image: Image) -> bool:
    """Whether the caller, who may have the image's bytes, may say which store they are to come from."""
    return allows(caller, "download_from_store", image)


def may_sign(caller: Caller, image: Image) -> bool:
    """Whether the caller may let whoever has a URL have the image's bytes: never who may not have them."""
    return may_download(caller, image) and allows(caller, "sign_image_url", image)


def may_copy(caller: Caller, image: Image) -> bool:
    """Whether the caller may have the image copied into further stores."""
    return allows(caller, "copy_image", image)


def may_see_stores_in_detail(caller: Caller) -> bool:
    """Whether the caller may know what stores weigh, and where they are."""
    return rules_of(caller).allow("stores_info_detail", caller, owned_by(caller.project))


def may_see_locations(caller: Caller, image: Image) -> bool:
    """Whether the caller, who sees the image, is told where it lies."""
    return allows(caller, "get_image_location", image)


def may_set_locations(caller: Caller, image: Image) -> bool:
    """Whether the caller may say where the image lies, too."""
    return allows(caller, "set_image_location", image)


def may_add_location(caller: Caller, image: Image) -> bool:
    """Whether the caller may make the image of what lies somewhere, by the route for that."""
    return allows(caller, "add_image_location", image)


def may_delete_location(caller: Caller, image: Image) -> bool:
    """Whether the caller may take a place from the image."""
    return allows(caller, "delete_image_location", image)


def may_fetch_locations(caller: Caller, image: Image) -> bool:
    """Whether the caller may ask for the image's places by the route that is for services."""
    return allows(caller, "fetch_image_location", image)
