"""The log: which request a line belongs to, in both forms, and that nobody outside can write lines of their own."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from catalog.blocking import StepThreads
from httpapi import logs
from httpapi.access_log import logged_path
from httpapi.cause import CAUSE, Cause
from httpapi.request_id import global_id_of
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from catalog.usecases.services import Services

GLOBAL = "req-6ab3e1e6-6a7a-4b8e-9f5f-0c0b1a2d3e4f"


@pytest.fixture
def text() -> io.StringIO:
    stream = io.StringIO()
    logs.set_up(level="info", form="text", stream=stream)
    return stream


@pytest.fixture
def documents() -> io.StringIO:
    stream = io.StringIO()
    logs.set_up(level="info", form="json", name="worker 1/4", stream=stream)
    return stream


def objects(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(message: str) -> None:
    raise ValueError(message)


def test_a_line_of_text_has_time_level_logger_and_request(text: io.StringIO) -> None:
    logging.getLogger("drystone.test").warning("Something %s", "happened")
    token = CAUSE.set(Cause("req-1", GLOBAL))
    logging.getLogger("drystone.test").info("for a request")
    CAUSE.reset(token)
    first, second = text.getvalue().splitlines()
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(time + r" WARNING drystone\.test Something happened", first)
    assert re.fullmatch(time + rf" INFO    drystone\.test \[req-1 {GLOBAL}\] for a request", second)


def record_of_failure(text: str) -> logging.LogRecord:
    """A record with `text` in its message and its trace; handed to a formatter alone, for other tools choke on it."""
    try:
        fail(text)
    except ValueError:
        return logging.LogRecord("drystone.test", logging.ERROR, __file__, 1, "seen: %s", (text,), sys.exc_info())
    raise AssertionError


def test_no_one_outside_can_begin_a_line_or_command_the_terminal() -> None:
    evil = "a\nERROR drystone.x forged\r\x1b[2J\x85\u2028\u202e\udcff"
    lines = logs.TextFormatter().format(record_of_failure(evil)).split("\n")
    assert lines[0].endswith(r"seen: a\nERROR drystone.x forged\r\x1b[2J\x85\u2028\u202e\udcff")
    assert len(lines) > 3
    assert all(line.startswith("    ") for line in lines[1:])
    assert all(line.isprintable() for line in lines)


def test_a_line_of_json_is_one_object_with_its_trace_as_one_text() -> None:
    text = logs.JsonFormatter("worker 1/4").format(record_of_failure("two\nlines \udcff"))
    assert text.encode().count(b"\n") == 0
    found = json.loads(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])
    assert (found["level"], found["logger"], found["process"]) == ("error", "drystone.test", "worker 1/4")
    assert found["message"].startswith("seen: two\nlines ")
    assert found["exception"].startswith("Traceback (most recent call last):\n")
    assert "ValueError: two\nlines" in found["exception"]
    assert "request_id" not in found


def test_a_threads_lines_belong_to_the_request_it_works_for(documents: io.StringIO) -> None:
    async def request() -> None:
        CAUSE.set(Cause("req-7"))
        await threads.run(lambda: logging.getLogger("catalog.x").info("in a step"))

    threads = StepThreads("test", 1)
    asyncio.run(request())
    threads.close()
    assert [each["request_id"] for each in objects(documents)] == ["req-7"]


def test_setting_up_again_takes_the_place_of_the_first(text: io.StringIO, documents: io.StringIO) -> None:
    logging.getLogger("drystone.test").info("once")
    assert text.getvalue() == ""
    assert len(objects(documents)) == 1


def test_a_requests_own_line_has_its_fields_and_the_answers_id(services: Services, documents: io.StringIO) -> None:
    with RunningServer(services) as server:
        path = "/v2/images"
        answer = server.call("GET", f"{path}?name=secret", headers={"X-Openstack-Request-Id": GLOBAL.upper()})
        missing = server.call("GET", "/%0anothing%1b")
        while len(objects(documents)) < 2:
            pass
    first, second = objects(documents)
    assert first["request_id"] == answer.headers["x-openstack-request-id"] != GLOBAL
    assert first["global_request_id"] == GLOBAL
    assert "global_request_id" not in second
    assert isinstance(first["seconds"], float)
    told = {key: first[key] for key in ("method", "path", "status", "bytes", "client", "user", "project", "cut")}
    assert told == {
        "method": "GET",
        "path": path,
        "status": 200,
        "bytes": len(answer.body),
        "client": "127.0.0.1",
        "user": "admin",
        "project": "default",
        "cut": False,
    }
    assert "secret" not in documents.getvalue()
    assert (second["path"], second["status"], second["user"]) == ("/%0anothing%1b", missing.status, None)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/v2/images?token=secret", "/v2/images"),
        ("/a#secret?b", "/a"),
        ("http://me:secret@host/v2/images?x", "/v2/images"),
        ("http://me:secret@host?x", "/"),
        ("*", "*"),
        ("", "/"),
        ("/" + "x" * 2000, "/" + "x" * 1023 + "..."),
    ],
)
def test_a_path_is_told_without_what_may_be_secret(target: str, shown: str) -> None:
    assert logged_path(target) == shown


def test_only_what_has_the_shape_of_a_global_id_is_one() -> None:
    assert global_id_of(GLOBAL) == GLOBAL
    for other in (None, "", "req-abc", GLOBAL[4:], GLOBAL + "0", GLOBAL + "\n", "REQ" + GLOBAL[2:]):
        assert global_id_of(other) is None
