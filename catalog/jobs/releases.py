"""What is let go when a task ends badly: the locks, pins and copies that its job took along while it ran.

One table, asked in one place (`steps.py`), in the transaction that ends the task: given up, cancelled while it waited
or ran, its worker dead too often, its image deleted. So no way to an end can forget it, and none needs to know it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from catalog.model.importing import CONVERT, IMPORT, IMPORT_TASK
from catalog.model.task import LOCATION_IMPORT
from catalog.usecases import conversions, import_steps, location_import

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from catalog.model.task import Task
    from catalog.ports import UnitOfWork

Release: TypeAlias = "Callable[[UnitOfWork, Task, datetime], None]"
"""Lets go of what the task's job took, whichever of its tries it was; again, it finds nothing and changes nothing.

The image may be gone, or going: it is asked for before the image's rows are.
"""

RELEASES: Final[dict[str, Release]] = {
    IMPORT: import_steps.release,
    IMPORT_TASK: import_steps.release,
    CONVERT: conversions.release,
    LOCATION_IMPORT: location_import.release,
}
"""By the type of task. A kind that changes nothing before its effect has nothing to let go, and is not in it."""


def let_go_of(uow: UnitOfWork, task: Task, *, at: datetime) -> None:
    """Let go of what the task's job took."""
    release = RELEASES.get(task.type)
    if release is not None:
        release(uow, task, at)
