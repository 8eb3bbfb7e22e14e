"""Conversion on demand over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.policy import rules_with
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from catalog.usecases.services import Services

OCTETS = {"Content-Type": "application/octet-stream"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def active(server: RunningServer) -> str:
    image = server.new_image()
    assert server.call("PUT", f"/v2/images/{image}/file", b"bytes", OCTETS).status == 204
    return image


def test_a_conversion_is_a_task_and_an_image_at_once(server: RunningServer) -> None:
    image = active(server)
    asked = {"disk_format": "qcow2", "name": "other", "compressed": True}
    answer = server.call("POST", f"/v2/images/{image}/actions/convert", json_body=asked)
    assert (answer.status, answer.json["type"], answer.json["status"]) == (202, "convert", "pending")
    method = {"name": "convert", "image_id": image, "disk_format": "qcow2", "compressed": True}
    assert answer.json["input"]["import_req"] == {"method": method, "name": "other"}
    made = server.call("GET", f"/v2/images/{answer.json['image_id']}").json
    assert (made["status"], made["name"], made["disk_format"]) == ("importing", "other", "qcow2")
    assert (made["visibility"], made["drystone_converted_from"]) == ("private", image)
    assert made["os_glance_import_task"] == answer.json["id"]
    again = server.call("POST", f"/v2/images/{image}/actions/convert", json_body=asked)
    assert (again.status, again.json["id"]) == (202, answer.json["id"])
    assert server.call("POST", f"/v2/tasks/{answer.json['id']}/actions/cancel").status == 202
    assert server.call("GET", f"/v2/images/{answer.json['image_id']}").status == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad-request"),
        (b"[]", "bad-request"),
        (b"{}", "bad-request"),
        (b'{"disk_format": 7}', "bad-request"),
        (b'{"disk_format": "qcow2", "name": 7}', "bad-request"),
        (b'{"disk_format": "qcow2", "compressed": "yes"}', "bad-request"),
        (b'{"disk_format": "qcow2", "format": "raw"}', "bad-request"),
        (b'{"disk_format": "floppy"}', "invalid"),
        (b'{"disk_format": "vmdk", "compressed": true}', "invalid"),
    ],
)
def test_what_asks_for_no_conversion_that_there_is_is_400(server: RunningServer, body: bytes, code: str) -> None:
    answer = server.call("POST", f"/v2/images/{active(server)}/actions/convert", body)
    assert (answer.status, answer.code) == (400, code)


def test_who_may_convert_is_a_rule(services: Services) -> None:
    with RunningServer(replace(services, rules=rules_with({"convert_image": "!"}))) as server:
        image = active(server)
        answer = server.call("POST", f"/v2/images/{image}/actions/convert", json_body={"disk_format": "qcow2"})
        assert (answer.status, answer.code) == (403, "forbidden")
        answer = server.call("POST", f"/v2/images/{UNKNOWN}/actions/convert", json_body={"disk_format": "qcow2"})
        assert answer.status == 404
