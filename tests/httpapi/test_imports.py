"""Import and staging over HTTP, and what is answered where no way of import is served."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.model.caller import Caller
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.usecases.services import Services
    from tests.kit.running_server import Answer

UNKNOWN = "00000000-0000-4000-8000-000000000000"
OCTETS = {"Content-Type": "application/octet-stream"}
METHODS = ("glance-direct", "web-download", "copy-image", "glance-download", "other")
DIRECT = {"method": {"name": "glance-direct"}}
DATA = bytes(range(256)) * 40


@pytest.fixture
def without(services: Services) -> Iterator[RunningServer]:
    """A server that serves no way of import."""
    with RunningServer(replace(services, import_methods=())) as running:
        yield running


def stage(server: RunningServer, image: str, data: bytes = DATA) -> Answer:
    return server.call("PUT", f"/v2/images/{image}/stage", data, OCTETS)


def begin(server: RunningServer, image: str, **more: object) -> Answer:
    return server.call("POST", f"/v2/images/{image}/import", json_body={**DIRECT, **more})


def test_nothing_can_be_staged_where_no_import_takes_it(without: RunningServer) -> None:
    image = without.new_image()
    for each in (image, UNKNOWN, "x"):
        answer = stage(without, each)
        assert (answer.status, answer.code) == (404, "not-found")
    assert without.call("GET", f"/v2/images/{image}").json["status"] == "queued"
    assert without.call("PUT", f"/v2/images/{image}/file", b"bytes", OCTETS).status == 204


@pytest.mark.parametrize("name", METHODS)
def test_where_none_is_served_every_way_of_import_is_unknown(without: RunningServer, name: str) -> None:
    for each in (without.new_image(), UNKNOWN, "x"):
        asked = {"method": {"name": name, "uri": "http://x/"}}
        answer = without.call("POST", f"/v2/images/{each}/import", json_body=asked)
        assert (answer.status, answer.code) == (400, "invalid")
        assert name in answer.json["message"]


def test_where_none_is_served_no_way_of_import_is_told(without: RunningServer) -> None:
    assert without.call("GET", "/v2/info/import").json["import-methods"]["value"] == []
    answer = without.call("POST", "/v2/images", b"{}")
    assert answer.status == 201
    assert not [name for name in answer.headers if name.lower().startswith("openstack-image-")]


def test_the_ways_of_import_are_told(server: RunningServer) -> None:
    told = server.call("GET", "/v2/info/import").json["import-methods"]["value"]
    assert "glance-direct" in told
    assert server.call("POST", "/v2/images", b"{}").headers["OpenStack-image-import-methods"] == ",".join(told)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{}", b"[]", b'{"method": "x"}', b'{"method": {}}', b'{"method": {"name": 7}}']
)
def test_an_import_that_names_no_way_says_how_one_is_named(server: RunningServer, body: bytes) -> None:
    answer = server.call("POST", f"/v2/images/{server.new_image()}/import", body)
    assert (answer.status, answer.code) == (400, "bad-request")


@pytest.mark.parametrize(
    ("more", "headers"),
    [
        ({"all_stores": 7}, {}),
        ({"all_stores_must_succeed": "yes"}, {}),
        ({"stores": []}, {}),
        ({"stores": "blocks"}, {}),
        ({"stores": [7]}, {}),
        ({"stores": ["blocks"]}, {"x-image-meta-store": "blocks"}),
        ({"stores": ["blocks"], "all_stores": True}, {}),
        ({"all_stores": True}, {"x-image-meta-store": "blocks"}),
    ],
)
def test_what_an_import_says_of_stores_must_make_sense(
    server: RunningServer, more: dict[str, object], headers: dict[str, str]
) -> None:
    image = server.new_image()
    stage(server, image)
    body = json.dumps({**DIRECT, **more}).encode()
    answer = server.call("POST", f"/v2/images/{image}/import", body, headers)
    assert (answer.status, answer.code) == (400, "bad-request")
    assert server.call("GET", f"/v2/images/{image}").json["status"] == "uploading"


def test_staged_bytes_are_imported_by_a_task(server: RunningServer) -> None:
    image = server.new_image()
    assert stage(server, image).status == 204
    assert server.call("GET", f"/v2/images/{image}").json["status"] == "uploading"
    answer = begin(server, image, all_stores=True)
    assert (answer.status, answer.body) == (202, b"")
    [task] = server.call("GET", f"/v2/images/{image}/tasks").json["tasks"]
    assert (task["type"], task["image_id"]) == ("api_image_import", image)
    assert task["request_id"] == answer.headers["x-openstack-request-id"]
    assert task["input"]["import_req"]["method"] == {"name": "glance-direct"}
    told = server.call("GET", f"/v2/images/{image}").json
    assert (told["status"], told["os_glance_import_task"]) == ("importing", task["id"])
    # No worker runs here.
    assert begin(server, image).status == 409
    assert server.call("PUT", f"/v2/images/{image}/file", DATA, OCTETS).status == 409
    assert server.call("DELETE", f"/v2/images/{image}").status == 204
    assert server.call("GET", f"/v2/tasks/{task['id']}").json["status"] == "failure"


def test_an_import_is_refused_for_what_is_not_staged_or_has_no_formats(server: RunningServer) -> None:
    queued = server.new_image()
    assert begin(server, queued).status == 409
    plain = server.call("POST", "/v2/images", b"{}").json["id"]
    assert stage(server, plain).status == 204
    answer = begin(server, plain)
    assert answer.status == 409
    assert "disk_format" in answer.json["message"]
    assert stage(server, plain).status == 409
    assert begin(server, UNKNOWN).status == 404
    ready = server.new_image()
    stage(server, ready)
    assert begin(server, ready, all_stores_must_succeed=False).status == 400


def test_what_is_staged_is_looked_at_like_any_upload(server: RunningServer) -> None:
    image = server.new_image()
    path = f"/v2/images/{image}/stage"
    assert server.call("PUT", path, DATA, {"Content-Type": "text/plain"}).status == 415
    assert server.call("PUT", path, DATA, OCTETS | {"x-openstack-image-size": "7"}).status == 400
    assert server.call("GET", f"/v2/images/{image}").json["status"] == "queued"
    assert stage(server, UNKNOWN).status == 404


def test_staging_and_import_have_one_verb_each(server: RunningServer) -> None:
    for what, verb in (("stage", "PUT"), ("import", "POST")):
        answer = server.call("GET", f"/v2/images/{UNKNOWN}/{what}")
        assert (answer.status, answer.headers["Allow"]) == (405, verb)


GOOD_TASK = {
    "import_from": "http://93.184.216.34/image",
    "import_from_format": "raw",
    "image_properties": {"name": "older way", "disk_format": "raw", "container_format": "bare"},
}


def test_the_older_way_makes_an_image_and_imports_into_it(server: RunningServer) -> None:
    answer = server.call("POST", "/v2/tasks", json_body={"type": "import", "input": GOOD_TASK})
    task = answer.json
    assert (answer.status, task["type"], task["status"]) == (201, "import", "pending")
    assert answer.headers["Location"].endswith(f"/v2/tasks/{task['id']}")
    assert task["input"].items() >= GOOD_TASK.items()
    image = server.call("GET", f"/v2/images/{task['image_id']}").json
    assert (image["name"], image["status"], image["os_glance_import_task"]) == ("older way", "importing", task["id"])
    assert server.call("POST", f"/v2/tasks/{task['id']}/actions/cancel").status == 202
    assert server.call("GET", f"/v2/images/{image['id']}").json["status"] == "queued"


@pytest.mark.parametrize(
    "given",
    [
        {},
        GOOD_TASK | {"import_from": "http://127.0.0.1/x"},
        GOOD_TASK | {"import_from": "file:///etc/hostname"},
        GOOD_TASK | {"import_from_format": 7},
        GOOD_TASK | {"image_properties": []},
        GOOD_TASK | {"image_properties": {"name": "no formats"}},
        GOOD_TASK | {"image_properties": {"disk_format": "odd", "container_format": "bare"}},
    ],
)
def test_a_task_that_cannot_be_makes_no_image(server: RunningServer, given: dict[str, object]) -> None:
    assert server.call("POST", "/v2/tasks", json_body={"type": "import", "input": given}).status == 400
    assert server.call("GET", "/v2/tasks").json["tasks"] == []
    assert server.call("GET", "/v2/images").json["images"] == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"type": "import"}', b'{"type": "hash", "input": {}}'])
def test_no_other_task_is_made_by_asking_for_it(services: Services, server: RunningServer, body: bytes) -> None:
    assert server.call("POST", "/v2/tasks", body).status == 400
    with RunningServer(services, caller=Caller("anna", "wall", frozenset({"member", "reader"}))) as member:
        answer = member.call("POST", "/v2/tasks", body)
        assert (answer.status, answer.code) == (403, "forbidden")
    assert server.call("GET", "/v2/tasks").json["tasks"] == []


def test_there_is_no_cache_to_manage(server: RunningServer) -> None:
    for verb, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("PUT", f"/{UNKNOWN}"),
        ("DELETE", f"/{UNKNOWN}"),
        ("POST", "/clean"),
        ("POST", "/prune"),
        ("GET", f"/nodes/{UNKNOWN}"),
    ):
        assert server.call(verb, f"/v2/cache{path}").status == 404
