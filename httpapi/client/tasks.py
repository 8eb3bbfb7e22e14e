"""Tasks at the client's end: look at them, follow them until they are over, cancel them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from httpapi.client.errors import NotAnImageService, NotFound
from httpapi.wire.tasks import UNDER_WAY, TaskRecord, parse_task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from httpapi.client.api import ImagesApi

SECONDS: Final = 1.0
"""Between two looks at what is followed; servers write progress down as often."""
_AT_ONCE: Final = 8
_MOST_FOLLOWED: Final = 100


async def get_task(api: ImagesApi, task_id: str) -> TaskRecord:
    """One task, whole; NotFound when there is none that this caller may see."""
    return read_task(await api.ask("GET", f"/tasks/{quote(task_id, safe='')}"))


async def cancel_task(api: ImagesApi, task_id: str) -> TaskRecord:
    """Ask for a task's end; the task as it is then: over, or soon to be."""
    return read_task(await api.ask("POST", f"/tasks/{quote(task_id, safe='')}/actions/cancel"))


async def image_tasks(api: ImagesApi, image_id: str) -> list[TaskRecord]:
    """All tasks of an image, whole, newest first."""
    return _read_list(await api.ask("GET", f"/images/{quote(image_id, safe='')}/tasks"))


async def newest_tasks(api: ImagesApi, limit: int, *, status: str | None = None) -> list[TaskRecord]:
    """The newest tasks as lists have them: without message, progress and image."""
    query = {"limit": str(limit)} | ({} if status is None else {"status": status})
    return _read_list(await api.ask("GET", f"/tasks?{urlencode(query)}"))


async def whole_tasks(api: ImagesApi, stubs: Iterable[TaskRecord]) -> list[TaskRecord]:
    """The same tasks whole, in their order; those that have expired meanwhile are left out."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def whole(stub: TaskRecord) -> TaskRecord | None:
        async with turn:
            with suppress(NotFound):
                return await get_task(api, stub.id)
        return None

    return [task for task in await asyncio.gather(*map(whole, stubs)) if task is not None]


async def image_names(api: ImagesApi, tasks: Iterable[TaskRecord], known: dict[str, str | None]) -> None:
    """Put the names of the tasks' images into `known`, by id; None for an image that is gone or has no name."""
    for image_id in {task.image_id for task in tasks if task.image_id is not None} - known.keys():
        known[image_id] = None
        with suppress(NotFound):
            known[image_id] = (await api.get_image(image_id)).name


async def follow(
    api: ImagesApi, image_id: str | None = None, *, seconds: float = SECONDS
) -> AsyncIterator[Sequence[TaskRecord]]:
    """All followed tasks as they are, again and again, until all of them are over.

    Followed is what is under way, on the image or at all, and what comes to it meanwhile; for an image of which
    nothing is under way, its newest task. What is followed stays in the sequence, in the order in which it came.
    """
    followed: dict[str, TaskRecord] = {}
    if image_id is not None:
        followed = {task.id: task for task in (await image_tasks(api, image_id))[:1]}
    while True:
        for task in await _under_way(api, image_id, followed):
            followed[task.id] = task
        yield list(followed.values())
        if all(task.is_over for task in followed.values()):
            return
        await asyncio.sleep(seconds)


async def _under_way(api: ImagesApi, image_id: str | None, followed: Mapping[str, TaskRecord]) -> Sequence[TaskRecord]:
    """What has changed since `followed`: tasks under way, and those that were and are over now."""
    found: list[TaskRecord] = []
    if image_id is None:
        stubs = [
            stub for status in sorted(UNDER_WAY) for stub in await newest_tasks(api, _MOST_FOLLOWED, status=status)
        ]
        # Of what only waits nothing new can be told: hundreds of those must not be asked for each second.
        found = await whole_tasks(api, [stub for stub in stubs if _may_have_moved(stub, followed.get(stub.id))])
        still = {stub.id for stub in stubs}
    else:
        # The image may be deleted meanwhile; its tasks are still there.
        with suppress(NotFound):
            found = [task for task in await image_tasks(api, image_id) if not task.is_over or task.id in followed]
        still = {task.id for task in found}
    ended = [task for task in followed.values() if not task.is_over and task.id not in still]
    told = await whole_tasks(api, ended)
    known = {task.id for task in told}
    return found + told + [_gone(task) for task in ended if task.id not in known]


def _gone(task: TaskRecord) -> TaskRecord:
    """What is told of a task that this caller sees no more; nobody would ever hear of its end."""
    return replace(task, status="failure", message="It cannot be seen any more: it or its image was removed.")


def _may_have_moved(stub: TaskRecord, known: TaskRecord | None) -> bool:
    return stub.status == "processing" or known is None or known.updated_at != stub.updated_at


def read_task(document: object) -> TaskRecord:
    """The task in one JSON object of an answer; NotAnImageService for anything else."""
    if not isinstance(document, dict):
        raise NotAnImageService("the answer is no task: check --endpoint")
    try:
        return parse_task(document)
    except KeyError as missing:
        raise NotAnImageService(f"the answer is no task, it lacks {missing}: check --endpoint") from None


def _read_list(document: object) -> list[TaskRecord]:
    if not isinstance(document, dict) or not isinstance(document.get("tasks"), list):
        raise NotAnImageService("the answer is no list of tasks: check --endpoint")
    return [read_task(each) for each in document["tasks"]]
