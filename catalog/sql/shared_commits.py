"""One commit for all steps that wait: the disk is asked once for many who write at the same time.

    BEGIN IMMEDIATE → for each who waits: SAVEPOINT, step, RELEASE (ROLLBACK TO, if this one fails) → COMMIT

Nobody is told that a step is done before the commit that holds it is on the disk. A commit that fails fails all of its
steps. Whoever comes while it runs is in the next one, so nobody waits for company: alone, a step is committed at once.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from sqlalchemy.exc import DBAPIError

from catalog.sql.failures import catalog_error
from catalog.sql.unit_of_work import SqlUnitOfWork

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from catalog.ports import UnitOfWork

T = TypeVar("T")

MOST: Final = 64
"""Steps in one commit."""
HOLD: Final = 0.05
"""Seconds after which no further step is taken in: other processes wait for the lock meanwhile."""


class _LostError(Exception):
    """SQLite has given up the whole transaction, as it does on a full disk."""


@dataclass(slots=True)
class _Waiting:
    """A step in its caller's context, and what came of it before the commit."""

    step: Callable[[UnitOfWork], Any]
    context: contextvars.Context
    done: Future[Any] = field(default_factory=Future)
    result: Any = None
    error: BaseException | None = None


class SharedCommits:
    """The one thread that writes; `run` gives a step's result when it is durable."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, step: Callable[[UnitOfWork], T]) -> T:
        """Run one step to its end; a cancelled caller doesn't stop one that began.

        The step has the caller's context variables, so that what it logs is known to be the caller's doing.
        """
        waiting = _Waiting(step, contextvars.copy_context())
        self._waiting.append(waiting)
        self._thread.submit(self._commit_those_who_wait)
        return cast("T", await asyncio.wrap_future(waiting.done))

    def close(self) -> None:
        """Wait for the steps that were given; none may be given afterwards."""
        self._thread.shutdown(wait=True)

    def _commit_those_who_wait(self) -> None:
        """As many as there are, by now; most calls find that an earlier one has taken theirs."""
        taken: list[_Waiting] = []
        if not self._take(taken):
            return
        lost: BaseException | None = None
        try:
            with self._engine.begin() as connection:
                until = monotonic() + HOLD
                _try(connection, taken[-1])
                while len(taken) < MOST and monotonic() < until and self._take(taken):
                    _try(connection, taken[-1])
        except BaseException as error:  # noqa: BLE001 - whoever waits is told; the thread is for the others too
            lost = error
        for waiting in taken:
            # What a step was refused for may be what another one did, which is lost now too.
            told = refusal(lost) if lost else waiting.error
            if told is not None:
                waiting.done.set_exception(told)
            else:
                waiting.done.set_result(waiting.result)

    def _take(self, taken: list[_Waiting]) -> bool:
        """Move the next one whose caller still waits to `taken`; False when there is none."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if waiting.done.set_running_or_notify_cancel():
                taken.append(waiting)
                return True
        return False


def _try(connection: Connection, waiting: _Waiting) -> None:
    """Run a step so that it alone fails, if it does; _LostError if the transaction went with it."""
    savepoint = connection.begin_nested()
    try:
        waiting.result = waiting.context.run(waiting.step, SqlUnitOfWork(connection))
    except BaseException as error:
        if not _in_transaction(connection):
            raise _LostError from error
        waiting.error = refusal(error)
        savepoint.rollback()
    else:
        savepoint.commit()


def _in_transaction(connection: Connection) -> bool:
    sqlite: Any = connection.connection.dbapi_connection
    return bool(sqlite.in_transaction)


def refusal(error: BaseException) -> BaseException:
    """The database's refusals as the catalog's errors, one for each who is told; anything else as it is."""
    if isinstance(error, _LostError):
        return refusal(error.__cause__ or error)
    found = catalog_error(error.orig) if isinstance(error, DBAPIError) else None
    if found is None:
        return error
    found.__cause__ = error
    return found
