"""Who may do what with the places where images lie; `location_rules.py` has the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.policy import allows

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.model.image import Image


def may_prefer(caller: Caller, image: Image) -> bool:
    """Whether the caller, who may have the image's bytes, may say which store they are to come from."""
    return allows(caller, "download_from_store", image)
