"""Tasks: list, show, cancel, those of one image, the acts that make one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.usecases import import_tasks, tasks
from catalog.usecases.coalescing import coalesce
from catalog.usecases.conversions import Wanted, convert
from catalog.usecases.task_queries import parse_task_query
from httpapi.body import read_json, refuse_body
from httpapi.caller import CALLER
from httpapi.handlers.image_record import wire_time
from httpapi.proxies import base_url
from httpapi.request_id import REQUEST_ID
from httpapi.wire.conversions import parse_conversion
from httpapi.wire.images import list_links
from httpapi.wire.json_body import parse_json
from httpapi.wire.tasks import TaskRecord, parse_new_task

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.model.task import Task
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class TasksHandlers:
    """The verbs on tasks; `body_timeout` is how many seconds a body may stand still."""

    services: Services
    body_timeout: float

    async def list(self, request: web.Request) -> web.Response:
        """One page of stubs, and links to the first and the next one."""
        refuse_body(request)
        pairs = list(request.query.items())
        page = await tasks.list_tasks(self.services, request[CALLER], parse_task_query(pairs, self.services.limits))
        links = list_links(pairs, last_id=page.tasks[-1].id if page.more else None, noun="tasks")
        return _json({"tasks": [record_of(task, request[CALLER]).stub() for task in page.tasks], **links})

    async def create(self, request: web.Request) -> web.Response:
        """201 with a task that imports an image; no other task is made by asking for it."""
        import_tasks.check_may_create(request[CALLER])
        kind, given = parse_new_task(parse_json(await read_json(request, idle_seconds=self.body_timeout)))
        request_id = request[REQUEST_ID]
        task = await import_tasks.create(self.services, request[CALLER], kind, given, request_id=request_id)
        response = _json(record_of(task, request[CALLER]).to_json(), status=201)
        response.headers["Location"] = f"{base_url(request)}/v2/tasks/{task.id}"
        return response

    async def show(self, request: web.Request) -> web.Response:
        """One task, whole."""
        refuse_body(request)
        task = await tasks.show(self.services, request[CALLER], request.match_info["id"])
        return _json(record_of(task, request[CALLER]).to_json())

    async def of_image(self, request: web.Request) -> web.Response:
        """All tasks of an image, whole, newest first."""
        refuse_body(request)
        found = await tasks.of_image(self.services, request[CALLER], request.match_info["image_id"])
        return _json({"tasks": [record_of(task, request[CALLER]).to_json() for task in found]})

    async def coalesce(self, request: web.Request) -> web.Response:
        """202 with the task that gives an image a whole manifest."""
        refuse_body(request)
        image_id, request_id = request.match_info["image_id"], request[REQUEST_ID]
        task = await coalesce(self.services, request[CALLER], image_id, request_id=request_id)
        return _json(record_of(task, request[CALLER]).to_json(), status=202)

    async def convert(self, request: web.Request) -> web.Response:
        """202 with the task that makes an image of another one, in another format."""
        said = parse_conversion(parse_json(await read_json(request, idle_seconds=self.body_timeout)))
        wanted = Wanted(said.disk_format, said.name, said.compressed)
        image_id, request_id = request.match_info["image_id"], request[REQUEST_ID]
        task = await convert(self.services, request[CALLER], image_id, wanted, request_id=request_id)
        return _json(record_of(task, request[CALLER]).to_json(), status=202)

    async def cancel(self, request: web.Request) -> web.Response:
        """202 with the task, which is over if it only waited, and will be soon if it runs."""
        refuse_body(request)
        task = await tasks.cancel(self.services, request[CALLER], request.match_info["id"])
        return _json(record_of(task, request[CALLER]).to_json(), status=202)


def record_of(task: Task, caller: Caller) -> TaskRecord:
    """The record of a task, as this caller is told it."""
    return TaskRecord(
        id=task.id,
        type=task.type,
        status=task.status.value,
        owner=task.owner,
        created_at=wire_time(task.created_at),
        updated_at=wire_time(task.updated_at),
        expires_at=None if task.expires_at is None else wire_time(task.expires_at),
        message=(caller.is_admin and task.whole_message) or task.message,
        input=task.input,
        result=task.result if task.is_over else {"progress": task.progress},
        # Of a task that the service gave itself, which only admins see, the image is in its input alone.
        image_id=task.image_id or str(task.input.get("image_id", "")) or None,
        request_id=task.request_id,
        user_id=task.user,
    )


def _json(document: object, *, status: int = 200) -> web.Response:
    body = json.dumps(document, ensure_ascii=False).encode()
    return web.Response(status=status, body=body, content_type="application/json")
