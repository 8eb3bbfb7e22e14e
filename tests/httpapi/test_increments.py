"""Children over HTTP, on the real block store: full disks to every client, refused parents, lists of children."""

from __future__ import annotations

import base64
import hashlib
import random
from typing import TYPE_CHECKING

import pytest

from httpapi.identity.basic import BasicIdentity
from httpapi.identity.passwords import hash_of
from httpapi.identity.users import UserFiles
from tests.kit.image_service import image_service
from tests.kit.running_server import Answer, RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNKNOWN = "00000000-0000-4000-8000-000000000000"
BLOCK = 4096
OLD = random.Random(7).randbytes(300 * BLOCK + 77)
ACCOUNTS = """
users.anna.projects.wall = ["member"]
users.boris.projects.hedge = ["member"]
users.root.projects.hedge = ["admin"]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """Two projects that share a store, over identity basic."""
    path = tmp_path / "htpasswd"
    path.write_text("".join(f"{name}:{hash_of(name, cost=4)}\n" for name in ("anna", "boris", "root")))
    (tmp_path / "accounts.toml").write_text(ACCOUNTS)
    with (
        image_service(tmp_path / "data") as service,
        RunningServer(service.services, identity=BasicIdentity(UserFiles(path))) as running,
    ):
        yield running


def of(user: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{user}".encode()).decode()}


def create(server: RunningServer, user: str = "anna", **attributes: object) -> Answer:
    document = {"disk_format": "raw", "container_format": "bare", **attributes}
    return server.call("POST", "/v2/images", headers=of(user), json_body=document)


def pushed(server: RunningServer, data: bytes, user: str = "anna", **attributes: object) -> str:
    image_id = create(server, user, **attributes).json["id"]
    headers = {"Content-Type": "application/octet-stream", **of(user)}
    assert server.call("PUT", f"/v2/images/{image_id}/file", data, headers).status == 204
    return str(image_id)


def read(server: RunningServer, image_id: str, span: str = "") -> bytes:
    ranged = {"Range": f"bytes={span}"} if span else {}
    answer = server.call("GET", f"/v2/images/{image_id}/file", headers={**of("anna"), **ranged})
    assert answer.status == (206 if span else 200)
    return answer.body


def edited(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[10 * BLOCK + 5] ^= 1
    changed[200 * BLOCK : 203 * BLOCK] = bytes(3 * BLOCK)
    return bytes(changed)


VERSIONS = {
    "edited": edited(OLD),
    "grown": OLD + b"more" * 5000,
    "grown by a hole": OLD + bytes(20 * BLOCK),
    "shrunk to an odd tail": OLD[: 100 * BLOCK + 13],
    "shrunk to whole blocks": OLD[: 100 * BLOCK],
    "empty": b"",
    "the same": OLD,
    "other": OLD[::-1],
}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_child_is_the_full_disk_to_every_client(server: RunningServer, version: str) -> None:
    parent, new = pushed(server, OLD), VERSIONS[version]
    child = pushed(server, new, parent_image_ref=parent)
    shown = server.call("GET", f"/v2/images/{child}", headers=of("anna")).json
    assert (shown["parent_image_ref"], shown["size"], shown["status"]) == (parent, len(new), "active")
    assert shown["os_hash_value"] == hashlib.sha512(new).hexdigest()
    assert "changed_size" not in shown
    assert read(server, child) == new
    for start, stop in ((0, 1), (9 * BLOCK, 12 * BLOCK), (199 * BLOCK - 1, 204 * BLOCK), (99 * BLOCK, 101 * BLOCK)):
        if stop <= len(new):
            assert read(server, child, f"{start}-{stop - 1}") == new[start:stop]
    assert server.call("DELETE", f"/v2/images/{parent}", headers=of("anna")).status == 204
    assert read(server, child) == new


def test_a_record_without_a_parent_has_no_key_for_it(server: RunningServer) -> None:
    assert "parent_image_ref" not in create(server).json
    assert "parent_image_ref" not in create(server, parent_image_ref=None).json


def test_two_projects_learn_nothing_of_each_others_images_by_naming_them_as_parents(server: RunningServer) -> None:
    foreign = pushed(server, OLD, "boris", visibility="private")
    told = []
    for parent in (foreign, UNKNOWN):
        answer = create(server, "anna", parent_image_ref=parent)
        assert (answer.status, answer.code) == (400, "invalid")
        told.append((answer.body.replace(parent.encode(), b"ID"), sorted(answer.headers.keys())))
    assert told[0] == told[1]
    assert create(server, "boris", parent_image_ref=foreign).status == 201
    assert create(server, "anna", parent_image_ref=7).status == 400
    assert server.call("GET", "/v2/images", headers=of("anna")).json["images"] == []


def test_what_nova_names_and_the_caller_may_not_read_is_passed_over(server: RunningServer) -> None:
    foreign = pushed(server, OLD, "boris", visibility="private")
    for named in (foreign, UNKNOWN):
        child = pushed(server, OLD, base_image_ref=named)
        assert server.call("GET", f"/v2/images/{child}", headers=of("anna")).json["base_image_ref"] == named
        assert read(server, child) == OLD


def test_children_are_listed_page_by_page(server: RunningServer) -> None:
    parent = pushed(server, b"old", "root", visibility="public")
    mine = [create(server, "anna", parent_image_ref=parent).json["id"] for _ in range(5)]
    create(server, "boris", parent_image_ref=parent)
    found, path = [], f"/v2/images?parent_image_ref={parent.upper()}&limit=2"
    while path:
        page = server.call("GET", path, headers=of("anna")).json
        found += [image["id"] for image in page["images"]]
        path = page.get("next")
    assert found == mine[::-1]
    both = f"/v2/images?parent_image_ref=in:{parent},{UNKNOWN}"
    assert len(server.call("GET", both, headers=of("root")).json["images"]) == 6


def lineage(server: RunningServer, user: str, query: str = "") -> dict[str, object]:
    answer = server.call("GET", f"/v2/lineage{query}", headers=of(user))
    assert answer.status == 200
    return {record["id"]: record for record in answer.json["lineage"]}


def test_lineage_is_told_of_images_that_the_caller_sees_and_no_others(server: RunningServer) -> None:
    secret = pushed(server, OLD, "root", visibility="private")
    public = pushed(server, edited(OLD), "root", visibility="public", parent_image_ref=secret)
    mine = pushed(server, edited(OLD), parent_image_ref=public, name="mine")
    found = lineage(server, "anna")
    assert found.keys() == {public, mine}
    parents = [{"id": secret, "visible": False}, {"id": public, "visible": True}]
    assert [found[each]["parent"] for each in (public, mine)] == parents  # type: ignore[index]
    assert [found[each]["changed_size"] for each in (public, mine)] == [None, 0]  # type: ignore[index]
    assert found[mine].keys() == {"id", "name", "status", "created_at", "size", "changed_size", "parent"}  # type: ignore[attr-defined]
    before = server.call("GET", "/v2/lineage", headers=of("anna")).body
    assert server.call("DELETE", f"/v2/images/{secret}", headers=of("root")).status == 204
    assert server.call("GET", "/v2/lineage", headers=of("anna")).body == before
    page = server.call("GET", "/v2/lineage?limit=1", headers=of("anna")).json
    assert page["next"] == f"/v2/lineage?limit=1&marker={mine}"
    assert server.call("GET", "/v2/lineage?limit=x", headers=of("anna")).status == 400


def test_the_services_own_tasks_name_their_image_to_admins_alone(server: RunningServer) -> None:
    parent = pushed(server, OLD)
    child = pushed(server, edited(OLD), parent_image_ref=parent)
    assert server.call("DELETE", f"/v2/images/{parent}", headers=of("anna")).status == 204
    assert server.call("GET", "/v2/tasks", headers=of("anna")).json["tasks"] == []
    assert server.call("GET", f"/v2/images/{child}/tasks", headers=of("anna")).json["tasks"] == []
    [stub] = server.call("GET", "/v2/tasks", headers=of("root")).json["tasks"]
    task = server.call("GET", f"/v2/tasks/{stub['id']}", headers=of("root")).json
    assert (task["type"], task["owner"], task["image_id"]) == ("coalesce", None, child)
    assert server.call("GET", f"/v2/tasks/{stub['id']}", headers=of("anna")).status == 404


def test_coalescing_takes_the_rights_to_change_the_image(server: RunningServer) -> None:
    public = pushed(server, OLD, "root", visibility="public")
    path = f"/v2/images/{public}/actions/coalesce"
    assert server.call("POST", path, headers=of("anna")).status == 403
    assert server.call("POST", f"/v2/images/{UNKNOWN}/actions/coalesce", headers=of("anna")).status == 404
    assert server.call("GET", path, headers=of("root")).status == 405
    queued = create(server).json["id"]
    assert server.call("POST", f"/v2/images/{queued}/actions/coalesce", headers=of("anna")).status == 409
    answer = server.call("POST", path, headers=of("root"))
    assert (answer.status, answer.json["type"], answer.json["status"]) == (202, "coalesce", "pending")
    assert server.call("POST", path, headers=of("root")).json["id"] == answer.json["id"]
