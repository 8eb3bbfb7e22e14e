from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.jobs import steps
from catalog.model.caller import Caller
from catalog.model.lane import Places
from catalog.model.task import Requester, image_task
from catalog.usecases import tasks
from httpapi.job_worker import working
from tests.kit.running_server import ADMIN, RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.model.task import Task
    from catalog.usecases.services import Services

MEMBER = Caller("anna", "wall", frozenset({"member", "reader"}))
READER = Caller("rita", "wall", frozenset({"reader"}))
STUB = {"id", "type", "status", "owner", "created_at", "updated_at", "self", "schema"}
WHOLE = STUB | {"input", "result", "message", "image_id", "request_id", "user_id"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def later(services: Services) -> Iterator[RunningServer]:
    with RunningServer(replace(services, hashes_later=True)) as running:
        yield running


def uploaded(server: RunningServer) -> str:
    image = server.new_image()
    answer = server.call("PUT", f"/v2/images/{image}/file", b"data", {"Content-Type": "application/octet-stream"})
    assert answer.status == 204
    return image


def made(server: RunningServer, owner: str, kind: str = "told") -> Task:
    """A task of a kind that nobody works on."""
    task = image_task(kind, image_id=UNKNOWN, owner=owner, by=Requester("anna"), at=server.services.clock())
    server.run(server.services.database.write(lambda uow: steps.enqueue(uow, task)))
    return task


def test_an_images_tasks_are_whole_and_name_the_upload_that_made_them(later: RunningServer) -> None:
    image = later.new_image()
    sent = later.call("PUT", f"/v2/images/{image}/file", b"data", {"Content-Type": "application/octet-stream"})
    [task] = later.call("GET", f"/v2/images/{image}/tasks").json["tasks"]
    assert task.keys() == WHOLE
    assert (task["type"], task["status"], task["image_id"]) == ("hash", "pending", image)
    assert task["request_id"] == sent.headers["x-openstack-request-id"]
    assert (task["user_id"], task["owner"], task["result"]) == ("admin", "default", {"progress": 0})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", task["created_at"])
    assert later.call("GET", task["self"]).json == task
    assert later.call("GET", f"/v2.12/tasks/{task['id'].upper()}").json == task


def test_the_image_has_its_hashes_when_the_task_is_over(later: RunningServer) -> None:
    image = uploaded(later)
    shown = later.call("GET", f"/v2/images/{image}").json
    assert (shown["checksum"], shown["os_hash_algo"], shown["os_hash_value"]) == (None, "sha512", None)
    assert "Content-MD5" not in later.call("GET", f"/v2/images/{image}/file").headers

    async def work() -> None:
        async with working(later.services, Places(1, 1)):
            for _ in range(2000):
                [task] = await tasks.of_image(later.services, ADMIN, image)
                if task.is_over:
                    return
                await asyncio.sleep(0.01)

    later.run(work())
    [task] = later.call("GET", f"/v2/images/{image}/tasks").json["tasks"]
    assert (task["status"], task["result"]) == ("success", {"image_id": image})
    assert "expires_at" in task
    shown = later.call("GET", f"/v2/images/{image}").json
    assert shown["checksum"] == "8d777f385d3dfec8815d20f7496026dc"
    assert len(shown["os_hash_value"]) == 128


def test_a_list_has_stubs_and_links_and_pages_in_any_order(server: RunningServer) -> None:
    ids = {made(server, "wall").id for _ in range(5)}
    answer = server.call("GET", "/v2/tasks").json
    assert answer.keys() == {"tasks", "first", "schema"}
    assert (answer["first"], answer["schema"]) == ("/v2/tasks", "/v2/schemas/tasks")
    assert {task["id"] for task in answer["tasks"]} == ids
    assert all(task.keys() == STUB for task in answer["tasks"])
    times = [task["created_at"] for task in answer["tasks"]]
    assert times == sorted(times, reverse=True)
    for key in ("created_at", "updated_at", "expires_at", "id", "type", "status"):
        for direction in ("asc", "desc"):
            path, found = f"/v2/tasks?limit=2&sort_key={key}&sort_dir={direction}", []
            while path:
                page = server.call("GET", path).json
                found += [task["id"] for task in page["tasks"]]
                path = page.get("next")
            assert len(found) == 5
            assert set(found) == ids
            if key == "id":
                assert found == sorted(ids, reverse=direction == "desc")


def test_a_list_is_narrowed_by_status_and_type(server: RunningServer) -> None:
    kept, ended = made(server, "wall"), made(server, "wall", "other")
    assert server.call("POST", f"/v2/tasks/{ended.id}/actions/cancel").status == 202

    def found(query: str) -> list[str]:
        return [task["id"] for task in server.call("GET", f"/v2/tasks?{query}").json["tasks"]]

    assert found("status=pending") == [kept.id]
    assert found("status=failure&type=other") == [ended.id]
    assert found("type=told") == [kept.id]
    assert found("type=import") == []
    assert found("limit=0") == []


@pytest.mark.parametrize(
    "query",
    ["status=odd", "sort_key=input", "sort_dir=up", "limit=-1", "limit=x", f"marker={UNKNOWN}", "owner=x"],
)
def test_what_a_list_cannot_be_asked_is_400_and_says_what_can(server: RunningServer, query: str) -> None:
    answer = server.call("GET", f"/v2/tasks?{query}")
    assert (answer.status, answer.code) == (400, "invalid")
    assert query.partition("=")[0] in answer.json["message"]


def test_a_project_sees_its_own_tasks_and_an_admin_all(services: Services, server: RunningServer) -> None:
    own, other = made(server, "wall"), made(server, "hedge")
    assert len(server.call("GET", "/v2/tasks").json["tasks"]) == 2
    with RunningServer(services, caller=READER) as reading:
        assert [task["id"] for task in reading.call("GET", "/v2/tasks").json["tasks"]] == [own.id]
        assert reading.call("GET", f"/v2/tasks/{own.id}").status == 200
        assert reading.call("GET", f"/v2/tasks/{other.id}").status == 404
        assert reading.call("GET", f"/v2/tasks?marker={other.id}").status == 400
        assert reading.call("POST", f"/v2/tasks/{own.id}/actions/cancel").status == 403
        assert reading.call("POST", f"/v2/tasks/{other.id}/actions/cancel").status == 404
    with RunningServer(services, caller=Caller("nemo", "wall", frozenset())) as nobody:
        assert nobody.call("GET", "/v2/tasks").status == 403


def test_what_failed_in_full_is_told_to_admins_alone(services: Services, server: RunningServer) -> None:
    task = made(server, "wall")
    failed = task.failed("The store failed.", at=services.clock(), whole="packs/0a/7 is damaged.")
    server.run(services.database.write(lambda uow: uow.tasks.save(failed)))
    path = f"/v2/tasks/{task.id}"
    assert server.call("GET", path).json["message"] == "packs/0a/7 is damaged."
    with RunningServer(services, caller=MEMBER) as member:
        assert member.call("GET", path).json["message"] == "The store failed."
        assert b"packs" not in member.call("GET", "/v2/tasks").body


def test_a_member_cancels_a_task_once(services: Services, server: RunningServer) -> None:
    task = made(server, "wall")
    with RunningServer(services, caller=MEMBER) as member:
        answer = member.call("POST", f"/v2/tasks/{task.id}/actions/cancel")
        assert (answer.status, answer.json["status"]) == (202, "failure")
        assert answer.json["message"] == "Cancelled: asked for by anna."
        again = member.call("POST", f"/v2/tasks/{task.id}/actions/cancel")
        assert (again.status, again.code) == (409, "conflict")


def test_tasks_are_made_by_the_service_and_go_by_themselves(server: RunningServer) -> None:
    task = made(server, "wall")
    answer = server.call("DELETE", f"/v2/tasks/{task.id}")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert server.call("GET", f"/v2/tasks/{UNKNOWN}").status == 404
    assert server.call("GET", "/v2/tasks/no-uuid").status == 404
    assert server.call("GET", f"/v2/images/{UNKNOWN}/tasks").status == 404
    assert server.call("GET", "/v2/tasks", b"body").status == 400


def test_tasks_are_counted_by_where_they_stand(server: RunningServer) -> None:
    made(server, "wall")
    server.call("POST", f"/v2/tasks/{made(server, 'wall').id}/actions/cancel")
    counted = server.run(tasks.counts(server.services))
    assert {status.value: number for status, number in counted.items()} == {
        "pending": 1,
        "processing": 0,
        "success": 0,
        "failure": 1,
    }
