"""Members on the wire: the reference's codes and records, and what a member may do with another project's image."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.kit.sent_deltas import SentDelta, held, item
from tests.kit.two_projects import two_projects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.two_projects import TwoProjects

BLOCK = 4096
BYTES = random.Random(3).randbytes(10 * BLOCK)
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[TwoProjects]:
    with two_projects(tmp_path, keep_deleted=3600) as running:
        yield running


def share(served: TwoProjects, image_id: str, project: str = "wood") -> None:
    answer = served.ann.call("POST", f"/v2/images/{image_id}/members", json_body={"member": project})
    assert answer.status == 200, answer.body


def test_records_and_codes_are_the_references(served: TwoProjects) -> None:
    image_id = served.ann.new_image(name="shared")
    path = f"/v2/images/{image_id}/members"
    assert served.ann.call("GET", path).json == {"members": [], "schema": "/v2/schemas/members"}
    made = served.ann.call("POST", path, json_body={"member": "wood"})
    assert made.status == 200
    record = made.json
    assert list(record) == ["member_id", "image_id", "status", "created_at", "updated_at", "schema"]
    assert {key: record[key] for key in ("member_id", "image_id", "status", "schema")} == {
        "member_id": "wood", "image_id": image_id, "status": "pending", "schema": "/v2/schemas/member",
    }  # fmt: skip
    assert served.bob.call("GET", f"{path}/wood").json == record
    said = served.bob.call("PUT", f"{path}/wood", json_body={"status": "accepted"})
    assert (said.status, said.json["status"]) == (200, "accepted")
    assert served.ann.call("GET", path).json["members"] == [said.json]
    assert served.bob.call("GET", "/v2/images").json["images"][0]["id"] == image_id
    gone = served.ann.call("DELETE", f"{path}/wood")
    assert (gone.status, gone.body) == (204, b"")
    assert served.bob.call("GET", f"/v2/images/{image_id}").status == 404


@pytest.mark.parametrize(
    ("method", "tail", "body", "code"),
    [
        ("POST", "", b"", "bad-request"),
        ("POST", "", b"[]", "bad-request"),
        ("POST", "", b'"wood"', "bad-request"),
        ("POST", "", b"{}", "bad-request"),
        ("POST", "", b'{"member": 7}', "bad-request"),
        ("POST", "", b'{"member": null}', "bad-request"),
        ("POST", "", b'{"member": ""}', "invalid"),
        ("POST", "", b'{"member": "a\\u0000b"}', "invalid"),
        ("POST", "", b'{"member": "\\ud800"}', "bad-request"),
        ("POST", "", b'{"member": "%s"}' % (b"x" * 256), "invalid"),
        ("PUT", "/wood", b"{}", "bad-request"),
        ("PUT", "/wood", b'{"status": true}', "bad-request"),
        ("PUT", "/wood", b'{"status": "Accepted"}', "invalid"),
        ("GET", "", b"{}", "bad-request"),
        ("GET", "/wood", b"{}", "bad-request"),
        ("DELETE", "/wood", b"{}", "bad-request"),
    ],
)
def test_what_makes_no_sense_is_400_and_changes_nothing(
    served: TwoProjects, method: str, tail: str, body: bytes, code: str
) -> None:
    image_id = served.ann.new_image()
    share(served, image_id)
    caller = served.bob if method == "PUT" else served.ann
    answer = caller.call(method, f"/v2/images/{image_id}/members{tail}", body)
    assert (answer.status, answer.code) == (400, code), answer.body
    [member] = served.ann.call("GET", f"/v2/images/{image_id}/members").json["members"]
    assert member["status"] == "pending"


def test_a_members_name_may_be_any_text(served: TwoProjects) -> None:
    image_id = served.ann.new_image()
    share(served, image_id, "größe/../%2f ?#")
    path = f"/v2/images/{image_id}/members/gr%C3%B6%C3%9Fe%2F..%2F%252f%20%3F%23"
    assert served.ann.call("GET", path).json["member_id"] == "größe/../%2f ?#"
    assert served.ann.call("DELETE", path).status == 204


def test_the_quota_and_a_second_time_have_their_codes(served: TwoProjects) -> None:
    image_id = served.ann.new_image()
    for number in range(128):
        share(served, image_id, f"project-{number}")
    path = f"/v2/images/{image_id}/members"
    assert served.ann.call("POST", path, json_body={"member": "project-7"}).code == "conflict"
    more = served.ann.call("POST", path, json_body={"member": "one-too-many"})
    assert (more.status, more.code) == (413, "limit-exceeded")
    assert len(served.ann.call("GET", path).json["members"]) == 128


def test_a_member_builds_on_a_shared_image_until_it_is_taken_away(served: TwoProjects) -> None:
    image_id = served.ann.put_image(BYTES)
    foreign = SentDelta.begin(served.bob, 10 * BLOCK, block_size=BLOCK)
    # Before: the sentence of an image that there is none of.
    before, none = (foreign.put(held(0, 1, named, 0)) for named in (image_id, UNKNOWN))
    assert before.status == none.status == 400
    assert before.json["message"].replace(image_id, UNKNOWN) == none.json["message"]
    share(served, image_id)
    served.bob.call("PUT", f"/v2/images/{image_id}/members/wood", json_body={"status": "rejected"})
    assert served.bob.bytes_of(image_id) == BYTES
    assert foreign.put(held(0, 1, image_id, 0)).status == 204
    over = SentDelta.begin(served.bob, 10 * BLOCK, base=image_id)
    assert over.put(item(1, BYTES[:BLOCK])).status == 204
    assert served.bob.call("GET", f"/v2/images/{image_id}/manifest").status == 200
    served.ann.call("DELETE", f"/v2/images/{image_id}/members/wood")
    # After: no more, and what it had is its own.
    assert foreign.put(held(2, 1, image_id, 2)).code == before.code
    for path in ("", "/file", "/manifest", "/tasks", f"/changes?since={image_id}", "/members"):
        assert served.bob.call("GET", f"/v2/images/{image_id}{path}").status == 404, path
    assert over.commit().status == 200
    assert served.bob.bytes_of(over.image)[2 * BLOCK :] == BYTES[2 * BLOCK :]


def test_a_deleted_image_is_gone_for_its_members_who_cannot_bring_it_back(served: TwoProjects) -> None:
    image_id = served.ann.put_image(BYTES)
    share(served, image_id)
    assert served.bob.call("DELETE", f"/v2/images/{image_id}").code == "forbidden"
    assert served.ann.call("DELETE", f"/v2/images/{image_id}").status == 204
    for method, path in (("GET", ""), ("GET", "/members"), ("GET", "/members/wood"), ("POST", "/actions/undelete")):
        assert served.bob.call(method, f"/v2/images/{image_id}{path}").code == "not-found"
    assert served.bob.call("GET", "/v2/deleted").json["deleted"] == []
    assert served.ann.call("POST", f"/v2/images/{image_id}/actions/undelete").status == 200
    assert served.bob.call("GET", f"/v2/images/{image_id}/members/wood").json["status"] == "pending"
