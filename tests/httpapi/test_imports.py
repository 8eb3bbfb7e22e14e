"""Import and staging with no way of import: the reference's answers where its list of ways is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from catalog.model.caller import Caller
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from catalog.usecases.services import Services

UNKNOWN = "00000000-0000-4000-8000-000000000000"
OCTETS = {"Content-Type": "application/octet-stream"}
METHODS = ("glance-direct", "web-download", "copy-image", "glance-download", "other")


def test_nothing_can_be_staged_whatever_the_image(server: RunningServer) -> None:
    image = server.new_image()
    for each in (image, UNKNOWN, "x"):
        answer = server.call("PUT", f"/v2/images/{each}/stage", b"bytes", OCTETS)
        assert (answer.status, answer.code) == (404, "not-found")
    assert server.call("GET", f"/v2/images/{image}").json["status"] == "queued"
    assert server.call("PUT", f"/v2/images/{image}/file", b"bytes", OCTETS).status == 204


@pytest.mark.parametrize("name", METHODS)
def test_every_way_of_import_is_unknown_whatever_the_image(server: RunningServer, name: str) -> None:
    for each in (server.new_image(), UNKNOWN, "x"):
        asked = {"method": {"name": name, "uri": "http://x/"}}
        answer = server.call("POST", f"/v2/images/{each}/import", json_body=asked)
        assert (answer.status, answer.code) == (400, "invalid")
        assert name in answer.json["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{}", b"[]", b'{"method": "x"}', b'{"method": {}}', b'{"method": {"name": 7}}']
)
def test_an_import_that_names_no_way_says_how_one_is_named(server: RunningServer, body: bytes) -> None:
    answer = server.call("POST", f"/v2/images/{server.new_image()}/import", body)
    assert (answer.status, answer.code) == (400, "bad-request")


def test_staging_and_import_have_one_verb_each(server: RunningServer) -> None:
    for what, verb in (("stage", "PUT"), ("import", "POST")):
        answer = server.call("GET", f"/v2/images/{UNKNOWN}/{what}")
        assert (answer.status, answer.headers["Allow"]) == (405, verb)


def test_a_new_image_names_no_ways_of_import(server: RunningServer) -> None:
    answer = server.call("POST", "/v2/images", b"{}")
    assert answer.status == 201
    assert not [name for name in answer.headers if name.lower().startswith("openstack-image-")]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"type": "import"}', b'{"type": "import", "input": {}}', b'{"input": {}}']
)
def test_a_task_is_not_made_by_asking_for_it(services: Services, server: RunningServer, body: bytes) -> None:
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
