from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.progress import Progress

from catalog.jobs import steps
from catalog.model.caller import Caller
from catalog.model.task import Requester, image_task
from httpapi.cli.root import run
from httpapi.cli.task_output import _Bars, age, tasks_table
from httpapi.client.api import ImagesApi
from httpapi.client.tasks import follow
from httpapi.wire.tasks import TaskRecord
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.model.job import Claim
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from tests.httpapi.cli.conftest import Drystone
    from tests.kit.small_server import SmallServer

KINDS = ("told",)
AT = "2026-11-22T17:47:08Z"


def write(server: RunningServer, step: Callable[[UnitOfWork], object]) -> object:
    return server.run(server.services.database.write(step))


def made(server: RunningServer, image_id: str) -> Task:
    at = server.services.clock()
    task = image_task("told", image_id=image_id, owner="default", by=Requester("anna"), at=at)
    write(server, lambda uow: steps.enqueue(uow, task))
    return task


def begun(server: RunningServer) -> Claim:
    found = server.run(
        server.services.database.write(lambda uow: steps.claim(uow, "c", "p", KINDS, at=server.services.clock()))
    )
    assert found is not None
    return found[0]


def move(server: RunningServer, claim: Claim, progress: int) -> None:
    now = server.services.clock()
    write(server, lambda uow: steps.move(uow, claim, progress, f"At {progress}.", at=now))


def succeed(server: RunningServer, claim: Claim) -> None:
    now = server.services.clock()
    write(server, lambda uow: steps.succeed(uow, claim, lambda _uow, _at: steps.Done("Done."), at=now))


def test_tasks_are_lines_with_the_images_names(server: RunningServer, drystone: Drystone) -> None:
    image = server.new_image(name="debian\t12")
    task = made(server, image)
    move(server, begun(server), 40)
    created = server.call("GET", f"/v2/tasks/{task.id}").json["created_at"]
    line = f"{task.id}\ttold\t{image}\tdebian\\t12\tprocessing\t40\t{created}\tAt 40.\n"
    assert drystone("tasks") == (0, line, "")
    assert drystone("tasks", image[:8]) == (0, line, "")
    assert drystone("tasks", "--quiet")[1] == f"{task.id}\n"
    [shown] = json.loads(drystone("tasks", "--json")[1])
    assert (shown["id"], shown["result"]) == (task.id, {"progress": 40})


def test_no_tasks_are_no_lines_and_an_unknown_image_is_an_error(server: RunningServer, drystone: Drystone) -> None:
    assert drystone("tasks") == (0, "", "")
    assert drystone("tasks", "--json") == (0, "[]\n", "")
    code, out, err = drystone("tasks", "nothing")
    assert (code, out) == (1, "")
    assert "no image has" in err


def test_only_so_many_of_the_newest_are_listed(server: RunningServer, drystone: Drystone) -> None:
    image = server.new_image()
    ids = [made(server, image).id for _ in range(3)]
    assert drystone("tasks", "--limit", "2", "-q")[1].split() == ids[:0:-1]
    assert drystone("tasks", image, "--limit", "1", "-q")[1].split() == ids[:1:-1]


def test_a_task_is_cancelled_by_the_beginning_of_its_id(server: RunningServer, drystone: Drystone) -> None:
    task = made(server, server.new_image())
    assert drystone("tasks", "--cancel", task.id[:8]) == (0, f"{task.id}\n", "")
    assert server.call("GET", f"/v2/tasks/{task.id}").json["status"] == "failure"
    code, _, err = drystone("tasks", "--cancel", task.id)
    assert code == 1
    assert "is over (failure) and cannot be cancelled" in err
    assert drystone("tasks", "--cancel", "abc")[0] == 2
    assert "no task's id begins with" in drystone("tasks", "--cancel", "abcdef")[2]
    assert "stands alone" in drystone("tasks", "--cancel", task.id, "--watch")[2]


def test_watching_nothing_says_so(server: RunningServer, drystone: Drystone) -> None:
    assert drystone("tasks", "--watch") == (0, "", "drystone: no task is under way\n")


def test_watching_an_image_of_which_all_is_over_looks_at_its_newest_task(
    server: RunningServer, drystone: Drystone
) -> None:
    image = server.new_image(name="disk")
    failed, good = made(server, image), made(server, image)
    server.call("POST", f"/v2/tasks/{failed.id}/actions/cancel")
    succeed(server, begun(server))
    code, out, _ = drystone("tasks", "disk", "--watch")
    assert (code, out.split("\t")[0]) == (0, good.id)
    last = made(server, image)
    server.call("POST", f"/v2/tasks/{last.id}/actions/cancel")
    code, out, err = drystone("tasks", "disk", "--watch")
    assert (code, out.split("\t")[0]) == (1, last.id)
    assert err == f"drystone: 1 of 1 tasks did not succeed; {last.id}: Cancelled: asked for by admin.\n"


def test_watching_prints_a_line_a_change_until_all_is_over(server: RunningServer, drystone: Drystone) -> None:
    task = made(server, server.new_image(name="disk"))
    claim = begun(server)
    move(server, claim, 40)
    ending = threading.Timer(0.4, lambda: succeed(server, claim))
    ending.start()
    code, out, err = drystone("tasks", "--watch")
    ending.join()
    assert (code, err) == (0, "")
    assert [line.split("\t")[4:6] for line in out.splitlines()] == [["processing", "40"], ["success", "100"]]
    assert {line.split("\t")[0] for line in out.splitlines()} == {task.id}


def test_watching_as_json_prints_an_object_a_change(server: RunningServer, drystone: Drystone) -> None:
    made(server, server.new_image())
    succeed_later = threading.Timer(0.4, lambda: succeed(server, begun(server)))
    succeed_later.start()
    _, out, _ = drystone("tasks", "--watch", "--json")
    succeed_later.join()
    assert [json.loads(line)["status"] for line in out.splitlines()][-1] == "success"


def test_following_sees_tasks_that_come_go_and_vanish(server: RunningServer) -> None:
    async def scene() -> list[list[str]]:
        images = [server.new_image() for _ in range(2)]
        first = made(server, images[0])
        seen: list[list[str]] = []
        async with ImagesApi(f"http://127.0.0.1:{server.port}") as api:
            async for tasks in follow(api, seconds=0.01):
                seen.append([task.status for task in tasks])
                if len(seen) == 1:
                    made(server, images[1])
                if len(seen) == 2:
                    # Ended while it waited: the lists of what is under way no longer have it.
                    server.call("POST", f"/v2/tasks/{first.id}/actions/cancel")
                if len(seen) == 3:
                    succeed(server, begun(server))
        return seen

    expected = [["pending"], ["pending", "pending"], ["failure", "pending"], ["failure", "success"]]
    assert asyncio.run(scene()) == expected


def test_following_an_image_goes_on_when_it_is_deleted(server: RunningServer) -> None:
    async def scene() -> list[str]:
        image = server.new_image()
        made(server, image)
        seen: list[str] = []
        async with ImagesApi(f"http://127.0.0.1:{server.port}") as api:
            async for [task] in follow(api, image, seconds=0.01):
                seen.append(task.message)
                if len(seen) == 1:
                    server.call("DELETE", f"/v2/images/{image}")
        return seen

    assert asyncio.run(scene())[-1] == "Cancelled: the image was deleted."


@pytest.mark.parametrize(("role", "told"), [("admin", ["processing", "success"]), ("member", [])])
def test_of_another_projects_image_an_admin_follows_the_tasks_and_others_nothing(
    server: RunningServer, role: str, told: list[str]
) -> None:
    image = server.new_image(visibility="public")
    made(server, image)
    claim = begun(server)
    stranger = Caller("bob", "lab", frozenset({role}))

    async def scene(endpoint: str) -> list[str]:
        seen: list[str] = []
        async with ImagesApi(endpoint) as api:
            async for tasks in follow(api, image, seconds=0.01):
                seen += [task.status for task in tasks]
                if len(seen) == 1:
                    succeed(server, claim)
                assert len(seen) < 20
        return seen

    with RunningServer(server.services, caller=stranger) as theirs:
        assert asyncio.run(scene(f"http://127.0.0.1:{theirs.port}")) == told


def record(**values: object) -> TaskRecord:
    base = TaskRecord(
        id="3f9a0212-0000-4000-8000-000000000000",
        type="hash",
        status="processing",
        created_at=AT,
        updated_at=AT,
        image_id="image-id-of-some-length",
        message="Hashed 1 of 4 MiB.",
        result={"progress": 25},
    )
    return replace(base, **values)  # type: ignore[arg-type]  # the tests' own values


def test_the_table_for_people_is_short_and_tells_all() -> None:
    text = StringIO()
    now = datetime(2026, 11, 22, 17, 52, 9, tzinfo=UTC)
    done = record(status="success", result={}, image_id=None)
    table = tasks_table([record(), done, record(status="failure")], {"image-id-of-some-length": "web[/]"}, now)
    Console(file=text, width=120).print(table)
    lines = [line.split() for line in text.getvalue().splitlines()]
    told = ["5", "min", "Hashed", "1", "of", "4", "MiB."]
    assert lines == [
        ["ID", "TYPE", "IMAGE", "STATUS", "DONE", "AGE", "MESSAGE"],
        ["3f9a0212", "hash", "web[/]", "processing", "25", "%", *told],
        ["3f9a0212", "hash", "-", "success", "100", "%", *told],
        ["3f9a0212", "hash", "web[/]", "failure", "-", *told],
    ]


def test_ages_are_told_in_their_largest_unit() -> None:
    then = datetime(2026, 11, 22, 17, 47, 8, tzinfo=UTC)
    steps_ = {0: "0 s", 59: "59 s", 60: "1 min", 3599: "59 min", 3600: "1 h", 86399: "23 h", 86400: "1 d"}
    assert {seconds: age(AT, then + timedelta(seconds=seconds)) for seconds in steps_} == steps_
    assert age("yesterday", then) == "-"


def test_bars_show_each_task_and_what_became_of_it() -> None:
    text = StringIO()
    with Progress(
        "{task.description} {task.percentage:.0f} {task.fields[message]}", console=Console(file=text)
    ) as all_:
        bars = _Bars(all_)
        bars.show([record()], {})
        bars.show([record(status="success", message="Hashed 4 MiB.")], {})
    assert "hash image-id 100 success: Hashed 4 MiB." in text.getvalue()


def test_a_server_without_tasks_is_told_from_one_that_has_none(
    small: SmallServer, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["--endpoint", small.url, "tasks"]) == 1
    assert "HTTP 404" in capfd.readouterr().err
