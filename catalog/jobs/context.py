"""What a job's work is given: the services, its task, and how to tell how far it is."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from blockstore.clock import monotonic
from catalog.blocking import to_its_end
from catalog.jobs import steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from catalog.model.job import Claim
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

T = TypeVar("T")


def _nothing() -> None:
    """Nothing was left."""


@dataclass(slots=True)
class JobContext:
    """One try of one job; `progress` is a percentage. What is reported is written down once a second at most.

    `claim` is the worker's hold on it; `is_last`: when this try fails, no other follows. `undo` takes back what the
    work left outside the catalog, for when its effect certainly never comes about; `let_go` is called when that is
    settled, in any case. `seconds` is how long parts of it took, for the result; `part` the percentages between which
    the part lies that reports now.
    """

    services: Services
    task: Task
    claim: Claim
    is_last: bool = False
    progress: int = 0
    message: str = ""
    undo: Callable[[], None] = _nothing
    let_go: Callable[[], None] = _nothing
    seconds: dict[str, float] = field(default_factory=dict)
    part: tuple[int, int] = (0, 100)

    def report(self, done: int, total: int, message: str) -> None:
        """So much of `total` is done; costs nothing."""
        low, high = self.part
        self.progress = low + (min(high - low, (high - low) * done // total) if total else high - low)
        self.message = message

    @contextmanager
    def timed(self, name: str, *, part: tuple[int, int]) -> Iterator[None]:
        """Around a part of the work; what it reports lies between these two percentages."""
        begun = monotonic()
        self.part = part
        yield
        self.seconds[name] = round(monotonic() - begun, 3)

    async def change(self, step: Callable[[UnitOfWork, datetime], T]) -> T:
        """Change the catalog in between, in one transaction that is this claim's or nobody's; at its end in any case.

        For what must be there before the work goes on, and be found by the next try. The kind says in `releases.py`
        what of it is let go when the task ends badly. Raises ClaimLost, with nothing changed, and what the step does.
        """
        # To its end: whoever is cancelled here must be sure that nothing is changed afterwards.
        now = self.services.clock()
        return await to_its_end(self.services.database.write(lambda uow: steps.change(uow, self.claim, step, at=now)))
