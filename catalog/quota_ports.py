"""What quotas need of the database: what was said of them, and what is used.

A contract beside those of `ports.py`; `sql/quotas.py` fulfils it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from catalog.model.quota import NO_QUOTA, Quota

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.model.quota import Usage


@dataclass(frozen=True, slots=True)
class Said:
    """What one source says of quotas: of projects by name, and of all others."""

    default: Quota = NO_QUOTA
    projects: Mapping[str, Quota] = field(default_factory=dict)

    def of(self, project: str) -> Quota:
        """What it says of the project itself."""
        return self.projects.get(project, NO_QUOTA)


class Quotas(Protocol):
    """Quotas in one transaction. Usage of images is kept by the database itself, that of uploads is their pins'."""

    def said(self, project: str) -> Said:
        """What the catalog says of this project and of all others, by one statement."""
        ...

    def all_said(self) -> Said:
        """Everything that it says."""
        ...

    def say(self, project: str | None, quota: Quota) -> None:
        """Say this of a project, or of all others (None), instead of what was said; NO_QUOTA says nothing."""
        ...

    def usage(self, project: str) -> Usage:
        """What the project has."""
        ...

    def all_usage(self) -> Mapping[str, Usage]:
        """What each project has that has anything."""
        ...

    def counted(self) -> Mapping[str, Usage]:
        """The same, with images and bytes counted anew over all images."""
        ...

    def recount(self) -> None:
        """Keep what `counted` says from here on."""
        ...
