"""The schemas that clients build their models from, held against what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from catalog.limits import Limits
from catalog.model.image import Status, Visibility
from catalog.usecases.attributes import READ_ONLY
from httpapi.handlers.schemas import words_of
from httpapi.wire.images import ImageRecord
from httpapi.wire.schemas import schemas
from tests.kit.json_schema import faults

if TYPE_CHECKING:
    from tests.kit.running_server import RunningServer

OCTETS = {"Content-Type": "application/octet-stream"}
SCHEMAS: dict[str, Any] = schemas(words_of(Limits()))


@pytest.mark.parametrize("name", ["image", "images", "member", "members", "task", "tasks"])
def test_each_schema_is_served_under_its_own_name(server: RunningServer, name: str) -> None:
    answer = server.call("GET", f"/v2/schemas/{name}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json["name"] == name
    assert answer.json == SCHEMAS[name]
    assert server.call("GET", f"/v2.7/schemas/{name}").json == answer.json


def test_a_schema_takes_no_body_and_no_other_verb(server: RunningServer) -> None:
    assert server.call("GET", "/v2/schemas/image", b"{}").status == 400
    refused = server.call("POST", "/v2/schemas/image", json_body={})
    assert (refused.status, refused.headers["Allow"]) == (405, "GET")


def test_what_is_answered_of_an_image_is_as_its_schema_says(server: RunningServer) -> None:
    parent = server.new_image(name="parent", tags=["a", "b"], protected=True, visibility="public", min_ram=512)
    server.new_image(
        parent_image_ref=parent, kernel_id=parent, architecture="x86_64", anything="", drystone_cutting="fixed:64KiB"
    )
    full = server.new_image(name="x" * 255, os_hidden=True)
    assert server.call("PUT", f"/v2/images/{full}/file", b"bytes", OCTETS).status == 204
    bare = server.call("POST", "/v2/images", json_body={}).json
    for image_id in (parent, full, bare["id"]):
        assert not faults(SCHEMAS["image"], server.call("GET", f"/v2/images/{image_id}").json)
    listed = server.call("GET", "/v2/images?limit=2").json
    assert len(listed["images"]) == 2
    assert not faults(SCHEMAS["images"], listed)


def test_what_is_answered_of_a_task_is_as_its_schema_says(server: RunningServer) -> None:
    image = server.new_image()
    assert server.call("PUT", f"/v2/images/{image}/file", b"bytes", OCTETS).status == 204
    made = server.call("POST", f"/v2/images/{image}/actions/coalesce")
    assert made.status == 202
    assert not faults(SCHEMAS["task"], made.json)
    listed = server.call("GET", "/v2/tasks").json
    assert listed["tasks"]
    assert not faults(SCHEMAS["tasks"], listed)


def test_the_image_schema_names_each_attribute_of_a_record_and_says_which_are_read_only() -> None:
    properties = SCHEMAS["image"]["properties"]
    told = ImageRecord(id="", status="", visibility="", created_at="", updated_at="").to_json()
    assert set(told) <= set(properties)
    assert {name for name, each in properties.items() if each.get("readOnly")} == READ_ONLY
    assert properties["status"]["enum"] == [*Status]
    assert properties["visibility"]["enum"] == [*Visibility]
    assert SCHEMAS["image"]["additionalProperties"] == {"type": "string"}


def test_formats_are_those_that_are_taken() -> None:
    limits = Limits(disk_formats=frozenset({"raw"}), container_formats=frozenset({"bare"}))
    properties: Any = schemas(words_of(limits))["image"]["properties"]
    assert properties["disk_format"]["enum"] == [None, "raw"]
    assert properties["container_format"]["enum"] == [None, "bare"]


def test_known_extra_properties_are_marked_as_no_base_attributes() -> None:
    properties = SCHEMAS["image"]["properties"]
    assert {name for name, each in properties.items() if each.get("is_base") is False} == {
        "architecture", "os_distro", "os_version", "description", "instance_uuid", "kernel_id", "ramdisk_id",
        "parent_image_ref", "drystone_cutting",
    }  # fmt: skip


def test_a_known_property_is_held_to_its_schema(server: RunningServer) -> None:
    for name in ("kernel_id", "ramdisk_id"):
        refused = server.call("POST", "/v2/images", json_body={name: "vmlinuz"})
        assert (refused.status, refused.code) == (400, "invalid")
        assert name in refused.json["message"]
        assert name not in server.call("POST", "/v2/images", json_body={name: None}).json
    assert server.call("POST", "/v2/images", json_body={"architecture": None}).status == 400
