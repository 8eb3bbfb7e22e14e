"""PATCH over HTTP, in both dialects, with every status of its."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from catalog.model.caller import Caller
from tests.kit.running_server import RunningServer
from tests.kit.sent_deltas import SentDelta
from tests.kit.two_projects import two_projects

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.running_server import Answer

OLDER = "application/openstack-images-v2.0-json-patch"
NEWER = "application/openstack-images-v2.1-json-patch"
UNKNOWN = "00000000-0000-0000-0000-000000000000"
OCTETS = {"Content-Type": "application/octet-stream"}


def patch(server: RunningServer, image_id: str, document: object, kind: str = NEWER) -> Answer:
    return server.call("PATCH", f"/v2/images/{image_id}", headers={"Content-Type": kind}, json_body=document)


def shown(server: RunningServer, image_id: str) -> dict[str, object]:
    found: dict[str, object] = server.call("GET", f"/v2/images/{image_id}").json
    return found


def test_what_the_openstack_client_sends_changes_the_image_and_answers_with_it(server: RunningServer) -> None:
    image_id = server.new_image(name="old", os="linux", arch="x86")
    document = [
        {"op": "add", "path": "/name", "value": "new"},
        {"op": "replace", "path": "/os", "value": "bsd"},
        {"op": "remove", "path": "/arch"},
        {"op": "add", "path": "/trait:a~1b", "value": ""},
        {"op": "add", "path": "/tags", "value": ["b", "a"]},
    ]
    answer = patch(server, image_id, document)
    assert answer.status == 200
    image = answer.json
    assert (image["name"], image["os"], image["trait:a/b"], image["tags"]) == ("new", "bsd", "", ["a", "b"])
    assert "arch" not in image
    assert shown(server, image_id) == image


def test_what_older_clients_send_does_the_same_but_adds_only_what_is_new(server: RunningServer) -> None:
    image_id = server.new_image(os="linux", arch="x86")
    document = [
        {"replace": "/name", "value": "new"},
        {"add": "/hw", "value": "v"},
        {"remove": "/arch"},
        {"replace": "/tags", "value": ["t"]},
    ]
    image = patch(server, image_id, document, OLDER).json
    assert (image["name"], image["hw"], image["tags"], "arch" in image) == ("new", "v", ["t"], False)
    for taken in ("/os", "/name"):
        answer = patch(server, image_id, [{"add": taken, "value": "x"}], OLDER)
        assert (answer.status, answer.code) == (409, "conflict")
    assert shown(server, image_id) == image


def test_an_empty_patch_changes_nothing(server: RunningServer) -> None:
    image_id = server.new_image()
    before = shown(server, image_id)
    for kind in (OLDER, NEWER, f"{NEWER}; charset=utf-8"):
        answer = patch(server, image_id, [], kind)
        assert (answer.status, answer.json) == (200, before)


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "application/json-patch+json", None])
def test_any_other_type_is_415_and_told_what_is_taken(server: RunningServer, kind: str | None) -> None:
    image_id = server.new_image()
    headers = {} if kind is None else {"Content-Type": kind}
    answer = server.call("PATCH", f"/v2/images/{image_id}", b"[]", headers)
    assert (answer.status, answer.code) == (415, "unsupported-media-type")
    assert answer.headers["Accept-Patch"] == f"{OLDER}, {NEWER}"
    assert (
        "Accept-Patch" not in server.call("PUT", f"/v2/images/{image_id}/file", b"x", {"Content-Type": "x/y"}).headers
    )


def test_a_body_that_is_no_list_of_operations_is_400(server: RunningServer) -> None:
    image_id = server.new_image()
    for body in (
        b"",
        b"{",
        b"{}",
        b"7",
        b"[7]",
        b'[{"op": "move", "path": "/a", "value": 1}]',
        b"[" * 100_000,
        b"\xff",
    ):
        answer = server.call("PATCH", f"/v2/images/{image_id}", body, {"Content-Type": NEWER})
        assert (body[:9], answer.status, answer.code) == (body[:9], 400, "bad-request")


REFUSALS = [
    ("replace", "/status", "active", 403, "read-only-attribute"),
    ("remove", "/checksum", None, 403, "read-only-attribute"),
    ("replace", "/id", UNKNOWN, 403, "read-only-attribute"),
    ("add", "/parent_image_ref", UNKNOWN, 403, "read-only-attribute"),
    ("add", "/os_glance_x", "v", 403, "reserved-attribute"),
    ("add", "/deleted", True, 403, "reserved-attribute"),
    ("add", "/locations/-", {"url": "http://h/", "metadata": {}}, 403, "reserved-attribute"),
    ("replace", "/locations", [], 403, "reserved-attribute"),
    ("remove", "/locations/0", None, 403, "reserved-attribute"),
    ("remove", "/name", None, 403, "forbidden"),
    ("replace", "/disk_format", "iso", 403, "forbidden"),
    ("replace", "/min_disk", "3", 400, "invalid"),
    ("replace", "/visibility", "nobody", 400, "invalid"),
    ("add", "/an_extra", 7, 400, "invalid"),
    ("add", "/an_extra", None, 400, "invalid"),
    ("add", "/locations", [], 400, "bad-request"),
    ("add", "/a/b", "c", 400, "bad-request"),
    ("replace", "/no", "x", 409, "conflict"),
    ("remove", "/no", None, 409, "conflict"),
    ("add", "/tags", [str(number) for number in range(129)], 413, "limit-exceeded"),
]


def test_what_cannot_be_changed_is_told_and_nothing_else_is_either(server: RunningServer) -> None:
    image_id = server.new_image()
    server.call("PUT", f"/v2/images/{image_id}/file", b"bytes", OCTETS)
    before = shown(server, image_id)
    for op, path, value, status, code in REFUSALS:
        document = [{"op": "add", "path": "/name", "value": "taken back"}, {"op": op, "path": path, "value": value}]
        answer = patch(server, image_id, document)
        assert (path, answer.status, answer.code) == (path, status, code)
    assert shown(server, image_id) == before


def test_an_unknown_image_is_404(server: RunningServer) -> None:
    for name in (UNKNOWN, "x", "%00"):
        answer = patch(server, name, [{"op": "add", "path": "/name", "value": "x"}])
        assert (answer.status, answer.code) == (404, "not-found")


def test_others_are_told_404_or_403(server: RunningServer) -> None:
    shared, public = server.new_image(), server.new_image(visibility="public")
    member = Caller("meg", "elsewhere", frozenset({"member"}))
    with RunningServer(server.services, caller=member) as theirs:
        document = [{"op": "add", "path": "/name", "value": "mine"}]
        assert patch(theirs, shared, document).status == 404
        assert patch(theirs, public, document).status == 403
        own = theirs.new_image()
        for path, value in (("/visibility", "public"), ("/owner", "default")):
            answer = patch(theirs, own, [{"op": "replace", "path": path, "value": value}])
            assert (answer.status, answer.code) == (403, "forbidden")
        assert patch(theirs, own, [{"op": "replace", "path": "/visibility", "value": "community"}]).status == 200


def test_many_changes_from_many_connections_are_all_there(server: RunningServer) -> None:
    image_id = server.new_image()
    answers: list[int] = []

    def change(number: int) -> None:
        document = [{"op": "add", "path": f"/key{number}", "value": "v"}]
        answers.append(patch(server, image_id, document).status)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 12
    assert {f"key{number}" for number in range(12)} <= shown(server, image_id).keys()


def test_a_change_while_bytes_come_in_is_there_when_they_have(server: RunningServer) -> None:
    image_id = server.new_image(os="linux")
    head = f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    with server.connect() as connection:
        connection.sendall(f"{head}Content-Type: application/octet-stream\r\nContent-Length: 5\r\n\r\nby".encode())
        while server.status_of(image_id) != "saving":
            pass
        document = [{"op": "replace", "path": "/os", "value": "bsd"}, {"op": "add", "path": "/tags", "value": ["t"]}]
        assert patch(server, image_id, document).json["status"] == "saving"
        connection.sendall(b"tes")
        assert b" 204 " in connection.recv(65536)
    image = shown(server, image_id)
    assert (image["status"], image["os"], image["tags"], image["size"]) == ("active", "bsd", ["t"], 5)


def test_a_change_between_the_requests_of_a_delta_upload_is_there_when_it_is_committed(tmp_path: Path) -> None:
    with two_projects(tmp_path) as people:
        delta = SentDelta.begin(people.ann, 8192, block_size=4096)
        path = f"/v2/images/{delta.image}"
        delta.send([(0, b"a" * 4096)])
        operations = [{"op": "add", "path": "/name", "value": "new"}, {"op": "add", "path": "/os", "value": "bsd"}]
        changed = people.ann.call("PATCH", path, headers={"Content-Type": NEWER}, json_body=operations)
        assert (changed.status, changed.json["status"]) == (200, "saving")
        assert people.ann.call("PUT", f"{path}/tags/t").status == 204
        delta.send([(1, b"b" * 4096)])
        image = delta.commit(2).json
        assert (image["status"], image["name"], image["os"], image["tags"]) == ("active", "new", "bsd", ["t"])
        # A commit whose answer was lost is asked for again, whatever became of the image meanwhile.
        assert people.ann.call("POST", f"{path}/actions/deactivate").status == 204
        again = delta.commit(2)
        assert (again.status, again.json["status"]) == (200, "deactivated")


def test_a_delta_upload_of_an_image_that_is_given_away_is_the_new_owners(tmp_path: Path) -> None:
    with two_projects(tmp_path) as people:
        delta = SentDelta.begin(people.ann, 4096, block_size=4096)
        path = f"/v2/images/{delta.image}"
        delta.send([(0, b"a" * 4096)])
        operations = [{"op": "replace", "path": "/owner", "value": "wood"}]
        assert people.root.call("PATCH", path, headers={"Content-Type": NEWER}, json_body=operations).status == 200
        assert delta.commit().status == 404
        assert delta.by(people.bob).finish() == delta.image
        assert people.bob.bytes_of(delta.image) == b"a" * 4096


def test_a_long_patch_is_bounded(server: RunningServer) -> None:
    image_id = server.new_image()
    answer = patch(server, image_id, [{"op": "add", "path": "/name", "value": "x"}] * 1001)
    assert (answer.status, answer.code) == (413, "limit-exceeded")
    body = json.dumps([{"op": "add", "path": "/name", "value": "x" * (1 << 20)}]).encode()
    assert server.call("PATCH", f"/v2/images/{image_id}", body, {"Content-Type": NEWER}).status == 413
