"""What a look at settings finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blockstore.errors import BlockstoreError
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from collections.abc import Callable


class Notes:
    """Problems and warnings as they are found."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def refused(self, check: Callable[[], object]) -> None:
        """Run one check; what it refuses is a problem."""
        try:
            check()
        except (SettingsRefused, BlockstoreError) as refusal:
            self.problems.append(str(refusal))
