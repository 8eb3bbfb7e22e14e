"""Tags one by one, and deactivation, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kit.two_projects import OCTETS, two_projects

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.running_server import RunningServer

UNKNOWN = "00000000-0000-0000-0000-000000000000"


def test_tags_are_put_on_and_taken_off(server: RunningServer) -> None:
    image_id = server.new_image()
    for path in ("plain", "a%2Fb", "%C3%A9%20x", "a:b.c", "%7Ba%0Ab%7D"):
        for _ in range(2):
            answer = server.call("PUT", f"/v2/images/{image_id}/tags/{path}")
            assert (answer.status, answer.body) == (204, b"")
    assert server.call("GET", f"/v2/images/{image_id}").json["tags"] == ["a/b", "a:b.c", "plain", "{a\nb}", "é x"]
    for path in ("a%2Fb", "%7Ba%0Ab%7D"):
        assert server.call("DELETE", f"/v2/images/{image_id}/tags/{path}").status == 204
    answer = server.call("DELETE", f"/v2/images/{image_id}/tags/a%2Fb")
    assert (answer.status, answer.code) == (404, "not-found")
    assert server.call("GET", f"/v2/images/{image_id}").json["tags"] == ["a:b.c", "plain", "é x"]


def test_a_tag_that_cannot_be_is_refused(server: RunningServer) -> None:
    image_id = server.new_image(tags=[str(number) for number in range(128)])
    for tag, body, status in (
        ("t" * 256, None, 400),
        ("%00", None, 400),
        ("%ff", None, 400),
        ("t", b"body", 400),
        ("t", None, 413),
    ):
        answer = server.call("PUT", f"/v2/images/{image_id}/tags/{tag}", body)
        assert (tag[:9], answer.status) == (tag[:9], status)
    assert server.call("DELETE", f"/v2/images/{image_id}/tags/0", b"body").status == 400
    assert server.call("PUT", f"/v2/images/{image_id}/tags/", None).status == 404
    assert server.call("PUT", f"/v2/images/{UNKNOWN}/tags/t").status == 404
    assert server.call("GET", f"/v2/images/{image_id}/tags/0").headers["Allow"] == "DELETE, PUT"


def test_a_deactivated_image_is_downloaded_by_admins_alone_by_every_route(tmp_path: Path) -> None:
    with two_projects(tmp_path) as people:
        data = bytes(range(256)) * 64
        image_id, other_id = people.ann.put_image(data), people.ann.put_image(b"other")
        path = f"/v2/images/{image_id}"
        for _ in range(2):
            assert people.ann.call("POST", f"{path}/actions/deactivate").status == 204
        assert people.ann.status_of(image_id) == "deactivated"
        refused = [
            people.ann.call("GET", f"{path}/file"),
            people.ann.call("HEAD", f"{path}/file"),
            people.ann.call("GET", f"{path}/file", headers={"Range": "bytes=0-4"}),
            people.ann.call("GET", f"{path}/file", headers={"Accept": "application/zstd"}),
            people.ann.call("GET", f"{path}/manifest"),
            people.ann.call("GET", f"{path}/manifest", headers={"Accept": "application/json"}),
            people.ann.call("GET", f"{path}/changes?since={other_id}"),
            people.ann.call("GET", f"/v2/images/{other_id}/changes?since={image_id}"),
            people.ann.call("POST", f"{path}/blocks", json_body={"blocks": ["0"]}),
        ]
        assert [answer.status for answer in refused] == [403] * 9
        child = people.ann.new_image(parent_image_ref=image_id)
        begun = people.ann.call("POST", f"/v2/images/{child}/deltas", json_body={"size": len(data), "base": image_id})
        assert (begun.status, people.ann.status_of(child)) == (400, "queued")
        assert people.root.bytes_of(image_id) == data
        assert people.ann.call("PUT", f"/v2/images/{child}/file", data, OCTETS).status == 204
        assert people.ann.call("POST", f"{path}/actions/reactivate").status == 204
        assert people.ann.bytes_of(image_id) == data


def test_actions_take_no_body_and_want_data_and_rights(tmp_path: Path) -> None:
    with two_projects(tmp_path) as people:
        image_id = people.ann.new_image(visibility="community")
        for action in ("deactivate", "reactivate"):
            path = f"/v2/images/{image_id}/actions/{action}"
            answer = people.ann.call("POST", path)
            assert (answer.status, answer.code) == (403, "forbidden")
            assert answer.json["message"] == f"Not allowed to {action} image in status 'queued'"
            assert people.ann.call("POST", path, b"{}").status == 400
            assert people.bob.call("POST", path).status == 403
            assert people.ann.call("POST", f"/v2/images/{UNKNOWN}/actions/{action}").status == 404
