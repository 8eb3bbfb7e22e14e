"""Metadata definitions over HTTP: what only the wire decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalog.metadefs.shapes import SCHEMAS
from tests.kit.json_schema import faults

if TYPE_CHECKING:
    from tests.kit.running_server import RunningServer

ALL = "/v2/metadefs/namespaces"
TITLE = {"title": "Title", "type": "string"}
WHOLE: dict[str, Any] = {
    "namespace": "OS::Compute::CPU",
    "display_name": "CPU",
    "description": "Processors",
    "properties": {"cores": {**TITLE, "minimum": 1.5, "items": {"type": "string"}, "minLength": 0}},
    "objects": [{"name": "socket", "required": ["cores"], "properties": {"cores": TITLE}}],
    "tags": [{"name": "fast"}, {"name": "slow"}],
    "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_"}],
}


def test_a_namespace_is_made_where_its_location_says_under_every_minor_version(server: RunningServer) -> None:
    made = server.call("POST", ALL, json_body=WHOLE)
    assert made.status == 201
    path = f"{ALL}/OS::Compute::CPU"
    assert (made.headers["Location"], made.json["self"]) == (f"http://127.0.0.1:{server.port}{path}", path)
    assert server.call("GET", path).json == made.json
    assert server.call("GET", path.replace("/v2/", "/v2.17/")).json == made.json


def test_names_with_any_character_are_escaped_in_links_and_found_by_them(server: RunningServer) -> None:
    assert server.call("POST", ALL, json_body={"namespace": ".."}).status == 400
    for name in ("a/b", "ü %", "...", "a?b#c"):
        made = server.call("POST", ALL, json_body={"namespace": name, "objects": [{"name": name}]})
        assert made.status == 201
        assert server.call("GET", made.json["self"]).json["namespace"] == name
        [found] = made.json["objects"]
        assert server.call("GET", found["self"]).json == found


def test_the_next_page_keeps_every_parameter_and_is_told_only_if_something_follows(server: RunningServer) -> None:
    for name in ("a", "b b", "c"):
        server.call("POST", ALL, json_body={"namespace": name})
    seen, path = [], f"{ALL}?limit=1&sort_key=namespace&sort_dir=desc&other=x"
    while path:
        page = server.call("GET", path).json
        assert page["first"] == f"{ALL}?limit=1&sort_key=namespace&sort_dir=desc&other=x"
        seen += [each["namespace"] for each in page["namespaces"]]
        path = page.get("next")
    assert seen == ["c", "b b", "a"]
    assert "next" not in server.call("GET", f"{ALL}?limit=3").json


def test_what_is_answered_is_as_the_schemas_say(server: RunningServer) -> None:
    made = server.call("POST", ALL, json_body=WHOLE).json
    assert not faults(SCHEMAS["namespace"], made)
    assert not faults(SCHEMAS["namespaces"], server.call("GET", ALL).json)
    below = f"{ALL}/OS::Compute::CPU"
    for path, schema in (
        ("objects", "objects"), ("objects/socket", "object"), ("properties", "properties"),
        ("properties/cores", "property"), ("tags", "tags"), ("tags/fast", "tag"), ("resource_types", "resource_types"),
    ):  # fmt: skip
        answer = server.call("GET", f"{below}/{path}")
        assert answer.status == 200
        assert not faults(SCHEMAS[schema], answer.json), path
    served = server.call("GET", "/v2/schemas/metadefs/namespace")
    assert (served.status, served.json) == (200, SCHEMAS["namespace"])


def test_the_header_says_whether_tags_come_beside_others(server: RunningServer) -> None:
    server.call("POST", ALL, json_body=WHOLE)
    tags = f"{ALL}/OS::Compute::CPU/tags"
    for header, name, left in (("True", "a", 3), ("1", "b", 4), ("False", "c", 1), ("", "d", 1)):
        made = server.call("POST", tags, headers={"X-Openstack-Append": header}, json_body={"tags": [{"name": name}]})
        assert (made.status, made.json) == (201, {"tags": [{"name": name}]})
        assert len(server.call("GET", tags).json["tags"]) == left


def test_bodies_are_read_where_there_is_something_to_say_and_refused_elsewhere(server: RunningServer) -> None:
    server.call("POST", ALL, json_body=WHOLE)
    below = f"{ALL}/OS::Compute::CPU"
    for method, path in (("GET", ALL), ("GET", f"{below}/tags"), ("DELETE", below), ("POST", f"{below}/tags/new")):
        assert server.call(method, path, json_body={}).status == 400
    for method, path in (("POST", ALL), ("PUT", below), ("POST", f"{below}/tags"), ("PUT", f"{below}/tags/fast")):
        for body in (None, b"", b"[]", b"{", b"7"):
            assert server.call(method, path, body).status == 400
        assert server.call(method, path, b'"' + b"x" * (1 << 20) + b'"').status == 413
    assert server.call("GET", f"{below}/tags").json == {"tags": [{"name": "slow"}, {"name": "fast"}]}
