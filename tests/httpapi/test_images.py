"""Images over HTTP: create, list, show, delete, and every status of theirs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from catalog.limits import Limits
from catalog.model.caller import Caller
from tests.kit.running_server import Answer, RunningServer

if TYPE_CHECKING:
    from catalog.usecases.services import Services

UNKNOWN = "00000000-0000-0000-0000-000000000000"


def create(server: RunningServer, **document: object) -> Answer:
    return server.call("POST", "/v2/images", json_body=document)


def test_an_image_is_created_with_defaults_and_told_where_it_is(server: RunningServer) -> None:
    answer = create(server)
    assert answer.status == 201
    image = answer.json
    assert answer.headers["Location"] == f"http://127.0.0.1:{server.port}/v2/images/{image['id']}"
    assert (image["status"], image["visibility"], image["owner"]) == ("queued", "shared", "default")
    assert (image["tags"], image["size"], image["checksum"], image["min_disk"]) == ([], None, None, 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", image["created_at"])
    assert server.call("GET", f"/v2/images/{image['id']}").json == image


def test_every_attribute_and_property_comes_back_as_it_was_sent(server: RunningServer) -> None:
    sent = {
        "id": "11111111-2222-3333-4444-555555555555",
        "name": "näme 🧱",
        "visibility": "public",
        "protected": True,
        "os_hidden": True,
        "disk_format": "qcow2",
        "container_format": "bare",
        "min_disk": 3,
        "min_ram": 4,
        "owner_specified.openstack.md5": "",
        "trait:X": "required",
    }
    image = create(server, **sent, tags=["b", "a", "b"]).json
    assert {key: image[key] for key in sent} == sent
    assert image["tags"] == ["a", "b"]


def test_attributes_that_may_not_be_set_are_403(server: RunningServer) -> None:
    for key in ("status", "size", "checksum", "self", "direct_url", "locations", "os_glance_x"):
        answer = create(server, **{key: "x"})
        assert (key, answer.status) == (key, 403)
    assert create(server, status="x").code == "read-only-attribute"


def test_what_makes_no_sense_is_400(server: RunningServer) -> None:
    for document in (
        {"id": "no-uuid"},
        {"min_disk": -1},
        {"min_disk": True},
        {"visibility": "everywhere"},
        {"disk_format": "floppy"},
        {"tags": "a"},
        {"k" * 256: "v"},
        {"property": 5},
        {"name": "n" * 256},
    ):
        answer = create(server, **document)
        assert (document, answer.status, answer.json["title"]) == (document, 400, "Bad Request")


def test_a_body_that_is_no_json_object_is_400(server: RunningServer) -> None:
    for body in (b"", b"{", b"[]", b"[" * 200_000, b'{"name": "\\ud800"}', b"\xff"):
        answer = server.call("POST", "/v2/images", body=body)
        assert (body[:9], answer.status) == (body[:9], 400)
    assert server.call("POST", "/v2/images", body=[b'{"na', b'me": "x"}']).json["name"] == "x"


def test_a_body_beyond_a_mebibyte_is_413(server: RunningServer) -> None:
    assert server.call("POST", "/v2/images", body=b" " * (1 << 20) + b"{}").status == 413
    assert server.call("POST", "/v2/images", body=[b" " * 65536] * 17).status == 413
    assert server.call("POST", "/v2/images", body=b'{"name":"ok"}' + b" " * ((1 << 20) - 13)).status == 201


def test_an_id_that_is_taken_is_409(server: RunningServer) -> None:
    image_id = server.new_image()
    assert create(server, id=image_id).status == 409


def test_more_properties_than_the_limit_are_413(server: RunningServer) -> None:
    assert create(server, **{f"p{n}": "" for n in range(129)}).status == 413


def test_an_image_that_is_not_there_is_404_whatever_its_name_looks_like(server: RunningServer) -> None:
    for name in (UNKNOWN, "x", "%00", "a%2fb", "..%2f..", "%F0%9F%A7%B1"):
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/file"), ("HEAD", "/file")):
            answer = server.call(method, f"/v2/images/{name}{path}")
            assert (method, name, answer.status) == (method, name, 404)


def test_a_path_or_query_that_is_no_utf8_is_400(server: RunningServer) -> None:
    for path in ("images/%ff", "images/%ed%a0%80", "images/%C3&%A9/file", "images?name=%ff", "images?%C3=%A9"):
        answer = server.call("GET", f"/v2/{path}")
        assert (path, answer.status, answer.code) == (path, 400, "bad-request")
    raw = server.exchange(b"GET /v2/images/\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert re.match(rb"HTTP/1\.. 400 ", raw)
    assert server.call("GET", "/v2/images?name=%C3%A9").status == 200


def test_an_id_is_the_same_in_either_case(server: RunningServer) -> None:
    image_id = server.new_image(id="ABCDEF00-2222-3333-4444-555555555555")
    assert image_id == "abcdef00-2222-3333-4444-555555555555"
    assert create(server, id=image_id).status == 409
    assert server.call("GET", f"/v2/images/{image_id.upper()}").json["id"] == image_id
    path = f"/v2/images/{image_id.upper()}/file"
    assert server.call("PUT", path, b"bytes", {"Content-Type": "application/octet-stream"}).status == 204
    assert server.call("GET", path).body == b"bytes"
    assert server.call("DELETE", f"/v2/images/{image_id.upper()}").status == 204
    assert create(server, id=image_id.upper()).status == 409


def test_more_text_than_the_limit_is_413(server: RunningServer) -> None:
    answer = create(server, **{f"p{n}": "ä" * 30_000 for n in range(3)})
    assert (answer.status, answer.code) == (413, "limit-exceeded")
    assert "bytes together" in answer.json["message"]


def test_an_image_is_deleted_once(server: RunningServer) -> None:
    image_id = server.new_image()
    answer = server.call("DELETE", f"/v2/images/{image_id}")
    assert (answer.status, answer.body) == (204, b"")
    assert server.call("DELETE", f"/v2/images/{image_id}").status == 404
    assert server.call("GET", f"/v2/images/{image_id}").status == 404


def test_a_protected_image_stays(server: RunningServer) -> None:
    image_id = server.new_image(protected=True)
    answer = server.call("DELETE", f"/v2/images/{image_id}")
    assert (answer.status, answer.code) == (403, "forbidden")


def test_verbs_without_a_body_refuse_one_but_not_a_content_type(server: RunningServer) -> None:
    image_id = server.new_image()
    for method in ("GET", "DELETE"):
        assert server.call(method, f"/v2/images/{image_id}", body=b"x").status == 400
    kind = {"Content-Type": "application/octet-stream"}
    assert server.call("GET", f"/v2/images/{image_id}", headers=kind).status == 200
    assert server.call("GET", "/v2/images", headers=kind).status == 200


def test_a_list_goes_page_by_page_and_keeps_every_parameter(server: RunningServer) -> None:
    made = [server.new_image(name=f"n{n}", tags=["a", "b"]) for n in range(5)]
    server.new_image(tags=["a"])
    path = "/v2/images?tag=a&limit=2&tag=b&sort_key=name&sort_dir=asc"
    seen, pages = [], 0
    while path:
        page = server.call("GET", path).json
        assert page["schema"] == "/v2/schemas/images"
        assert "marker" not in page["first"]
        kept = [("tag", "a"), ("limit", "2"), ("tag", "b"), ("sort_key", "name"), ("sort_dir", "asc")]
        assert parse_qsl(urlsplit(page["first"]).query) == kept
        seen += [image["id"] for image in page["images"]]
        path = page.get("next", "")
        pages += 1
    assert (seen, pages) == (made, 3)


def test_a_list_without_images_has_no_next(server: RunningServer) -> None:
    assert server.call("GET", "/v2/images").json == {
        "images": [], "first": "/v2/images", "schema": "/v2/schemas/images",
    }  # fmt: skip
    server.new_image()
    empty = server.call("GET", "/v2/images?limit=0")
    assert empty.json["images"] == []


def test_a_list_can_be_narrowed_by_property_and_hidden_state(server: RunningServer) -> None:
    shown, hidden = server.new_image(os="linux"), server.new_image(os_hidden=True)

    def ids(query: str) -> list[str]:
        return [image["id"] for image in server.call("GET", f"/v2/images?{query}").json["images"]]

    assert ids("os=linux") == [shown]
    assert ids("os=bsd") == []
    assert ids("os_hidden=True") == [hidden]


def test_a_list_of_much_text_comes_in_pages_that_end_early(services: Services) -> None:
    small = replace(services, limits=Limits(page_bytes=200_000))
    with RunningServer(small) as server:
        made = [server.new_image(text="ä" * 30_000) for _ in range(7)]
        path, seen, pages = "/v2/images?limit=1000&sort=created_at:asc", [], 0
        while path:
            answer = server.call("GET", path)
            assert len(answer.body) < 220_000
            seen += [image["id"] for image in answer.json["images"]]
            path = answer.json.get("next", "")
            pages += 1
    assert (seen, pages) == (made, 3)


def test_more_filters_than_can_be_asked_at_once_are_400(server: RunningServer) -> None:
    server.new_image(os="x")
    many = "&".join(f"p{n}=" for n in range(129))
    answer = server.call("GET", f"/v2/images?{many}")
    assert (answer.status, answer.code) == (400, "invalid")
    assert server.call("GET", f"/v2/images?{many.removesuffix('&p128=')}").json["images"] == []
    assert len(server.call("GET", f"/v2/images?{'&'.join(['os=x'] * 128)}").json["images"]) == 1


def test_a_list_asked_for_wrongly_is_400(server: RunningServer) -> None:
    for query in (
        "limit=-1",
        "limit=x",
        f"marker={UNKNOWN}",
        "sort_key=colour",
        "visibility=none",
        "size_min=x",
        "name=%00",
    ):
        answer = server.call("GET", f"/v2/images?{query}")
        assert (query, answer.status, answer.code) == (query, 400, "invalid")


def test_a_longer_list_is_whole_json(server: RunningServer) -> None:
    made = {server.new_image(name=f"{n}") for n in range(120)}
    page = server.call("GET", "/v2/images?limit=1000")
    assert {image["id"] for image in json.loads(page.body)["images"]} == made


def test_a_caller_without_the_role_is_403_and_the_invisible_is_404(server: RunningServer) -> None:
    foreign = server.new_image()
    public = server.new_image(visibility="public")
    reader = Caller("rita", "elsewhere", frozenset({"reader"}))
    with RunningServer(server.services, caller=reader) as hers:
        assert hers.call("GET", f"/v2/images/{foreign}").status == 404
        assert hers.call("GET", f"/v2/images/{public}").status == 200
        assert hers.call("DELETE", f"/v2/images/{public}").status == 403
        assert create(hers).status == 403
        put = hers.call("PUT", f"/v2/images/{public}/file", b"x", {"Content-Type": "application/octet-stream"})
        assert put.status == 403


@pytest.mark.parametrize("accept", ["*/*", "", "application/json", "text/plain"])
def test_errors_are_json_for_who_does_not_prefer_a_page(server: RunningServer, accept: str) -> None:
    assert server.call("GET", f"/v2/images/{UNKNOWN}", headers={"Accept": accept}).json["title"] == "Not Found"
