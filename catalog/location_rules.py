"""The rules of the places where images lie, of stores and of imports, as `policy.DEFAULTS` has all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULTS: Final[Mapping[str, str]] = {
    "download_from_store": "rule:context_is_admin or (role:member and rule:shown)",
}

JUDGE_IMAGES: Final = tuple(DEFAULTS)
"""Those whose target is an image."""
