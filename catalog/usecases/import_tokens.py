"""Tokens with which imports ask other services: none outlives its import, however that ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

_YOUNG: Final = 60.0
"""Seconds within which the task may yet be written down: its token is kept before it."""


async def let_go_tokens(services: Services) -> None:
    """Forget those whose task is over, or was never made."""
    if services.other_services is None:
        return
    tokens = services.other_services.tokens
    held = tokens.held()
    if not held:
        return
    now = services.clock().timestamp()

    def useless(uow: UnitOfWork) -> list[str]:
        tasks = {task_id: uow.tasks.get(task_id) for task_id in held}
        return [
            task_id
            for task_id, task in tasks.items()
            if (task is None and now - held[task_id] > _YOUNG) or (task is not None and task.is_over)
        ]

    for task_id in await services.database.read(useless):
        tokens.forget(task_id)
