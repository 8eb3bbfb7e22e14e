"""What a job's work is given: the services, its task, and how to tell how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.model.task import Task
    from catalog.usecases.services import Services


def _nothing() -> None:
    """Nothing was left."""


@dataclass(slots=True)
class JobContext:
    """One try of one job; `progress` is a percentage. What is reported is written down once a second at most.

    `undo` takes back what the work left outside the catalog, for when its effect certainly never comes about;
    `let_go` is called when that is settled, in any case.
    """

    services: Services
    task: Task
    progress: int = 0
    message: str = ""
    undo: Callable[[], None] = _nothing
    let_go: Callable[[], None] = _nothing

    def report(self, done: int, total: int, message: str) -> None:
        """So much of `total` is done; costs nothing."""
        self.progress = min(100, 100 * done // total) if total else 100
        self.message = message
