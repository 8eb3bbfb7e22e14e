"""What a server's start may be refused with, and the one sentence that the user then reads."""

from __future__ import annotations

from typing import Final, TypeAlias

from blockstore.errors import BlockstoreError, StoreUnavailable
from catalog.model.errors import CatalogError
from httpapi.settings import SettingsRefused

Refusal: TypeAlias = OSError | BlockstoreError | CatalogError | SettingsRefused
REFUSALS: Final = (OSError, BlockstoreError, CatalogError, SettingsRefused)


def sentence_of(error: Refusal) -> str:
    """Why, and what to do."""
    if isinstance(error, (OSError, StoreUnavailable)):
        return f"{error}: put this right, or choose another data directory with --data."
    return str(error)
