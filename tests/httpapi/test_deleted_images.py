"""Over HTTP, on the real block store: deleted images are gone for every client, and can be brought back by some."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import TYPE_CHECKING

import pytest

from blockstore import clock
from blockstore.garbage import Collecting
from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.usecases import administration
from tests.kit.filled_store import looked_after
from tests.kit.quiet_worker import until_quiet
from tests.kit.two_projects import OCTETS, two_projects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.running_server import Answer
    from tests.kit.two_projects import TwoProjects, User

DAY = 86400.0
BLOCK = 4096
OLD = random.Random(31).randbytes(200 * BLOCK + 77)
NEW = bytes([OLD[0] ^ 1]) + OLD[1:]
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[TwoProjects]:
    with two_projects(tmp_path, keep_deleted=DAY) as running:
        yield running


def undelete(user: User, image: str) -> Answer:
    return user.call("POST", f"/v2/images/{image}/actions/undelete")


def deleted(user: User, query: str = "") -> list[str]:
    answer = user.call("GET", f"/v2/deleted{query}")
    assert answer.status == 200, answer.body
    return [each["id"] for each in answer.json["deleted"]]


def gone(user: User, image: str) -> str:
    assert user.call("DELETE", f"/v2/images/{image}").status == 204
    return image


def collected(root: Path, keep: float, *, dry_run: bool = False) -> administration.Collection:
    with looked_after(root / "data", exclusive=True) as (store, records):
        how = Collecting(share=0, dry_run=dry_run)
        return administration.collect(store, records, how, Silent(), at=clock.now(), keep_deleted=keep)


def verified(root: Path) -> None:
    with looked_after(root / "data") as (store, records):
        found = administration.verify_all(store, records, Wanted(data=True), Silent())
    assert found.verified.clean, found.verified.findings


def test_a_deleted_image_is_an_unknown_one_for_every_request_and_comes_back_as_it_was(served: TwoProjects) -> None:
    image = served.ann.put_image(OLD, name="disk", tags=["a"], os_distro="debian", visibility="community")
    before = served.ann.call("GET", f"/v2/images/{image}").json
    gone(served.ann, image)
    for user in (served.ann, served.bob, served.root):
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("GET", "/file"),
            ("HEAD", "/file"),
            ("GET", "/manifest"),
            ("GET", f"/changes?since={image}"),
            ("GET", "/tasks"),
            ("GET", "/deltas"),
            ("POST", "/actions/coalesce"),
        ):
            answer = user.call(method, f"/v2/images/{image}{path}")
            assert (answer.status, answer.code) == (404, "not-found"), (user.name, method, path)
        assert user.call("GET", "/v2/images?visibility=all").json["images"] == []
        assert user.call("GET", "/v2/lineage").json["lineage"] == []
    document = {"id": image, "disk_format": "raw", "container_format": "bare"}
    assert served.ann.call("POST", "/v2/images", json_body=document).code == "conflict"
    answer = undelete(served.ann, image)
    assert answer.status == 200
    assert answer.json == served.ann.call("GET", f"/v2/images/{image}").json
    assert {**answer.json, "updated_at": before["updated_at"]} == before
    assert served.ann.bytes_of(image) == OLD
    assert served.bob.bytes_of(image) == OLD, "others see again what they saw"


def test_what_was_public_comes_back_private_and_says_so(served: TwoProjects) -> None:
    image = served.root.put_image(OLD, owner="stone", visibility="public")
    gone(served.root, image)
    answer = undelete(served.ann, image)
    assert (answer.status, answer.json["visibility"]) == (200, "private")
    assert answer.headers["x-drystone-lost-visibility"] == "public"
    assert served.bob.call("GET", f"/v2/images/{image}").status == 404
    gone(served.ann, image)
    assert "x-drystone-lost-visibility" not in undelete(served.ann, image).headers


def test_only_its_project_and_admins_learn_of_a_deleted_image(served: TwoProjects) -> None:
    image = served.ann.put_image(OLD, name="disk", visibility="community")
    assert undelete(served.ann, image).code == "conflict"
    gone(served.ann, image)
    unknown = undelete(served.bob, UNKNOWN)
    answer = undelete(served.bob, image)
    assert (answer.status, answer.code) == (404, "not-found")
    assert answer.json["message"] == unknown.json["message"].replace(UNKNOWN, image)
    assert deleted(served.bob) == []
    assert served.bob.call("GET", f"/v2/deleted?marker={image}").code == "invalid"
    for user in (served.ann, served.rea, served.root):
        assert deleted(user) == [image]
    answer = undelete(served.rea, image)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert undelete(served.root, image).status == 200
    assert deleted(served.ann) == []


def test_what_is_told_of_a_deleted_image(served: TwoProjects) -> None:
    image = served.ann.put_image(OLD, name="disk")
    made = served.ann.call("GET", f"/v2/images/{image}").json
    gone(served.ann, served.ann.put_image(b"other", name="other"))
    gone(served.ann, image)
    answer = served.ann.call("GET", "/v2/deleted?limit=1")
    [record] = answer.json["deleted"]
    assert answer.json["next"] == f"/v2/deleted?limit=1&marker={image}"
    assert record.pop("deleted_at")[:10] < record.pop("kept_until")[:10]
    assert record == {
        "id": image,
        "name": "disk",
        "owner": "stone",
        "status": "active",
        "size": len(OLD),
        "created_at": made["created_at"],
    }
    assert deleted(served.ann, "?name=disk") == [image]
    for query in ("?colour=grey", "?limit=many", "?marker=nobody"):
        assert served.ann.call("GET", f"/v2/deleted{query}").code == "invalid", query
    assert served.ann.call("POST", "/v2/deleted").code == "method-not-allowed"


def test_undelete_takes_no_body_and_no_id_that_is_none(served: TwoProjects) -> None:
    image = gone(served.ann, served.ann.put_image(OLD))
    assert served.ann.call("POST", f"/v2/images/{image}/actions/undelete", json_body={}).status == 400
    assert undelete(served.ann, "disk").code == "not-found"
    assert undelete(served.ann, image.upper()).json["id"] == image


def test_a_collection_takes_what_was_deleted_long_enough_ago_and_no_more(tmp_path: Path) -> None:
    with two_projects(tmp_path, keep_deleted=DAY) as served:
        parent = served.ann.put_image(OLD, name="parent")
        child = served.ann.put_image(NEW, name="child", parent_image_ref=parent)
        alone = gone(served.ann, served.ann.put_image(random.Random(32).randbytes(300_000), name="alone"))
        gone(served.ann, parent)
    done = collected(tmp_path, DAY)
    assert (done.expired, done.collected.forgotten) == (0, 0)
    verified(tmp_path)
    with two_projects(tmp_path, keep_deleted=DAY) as served:
        assert undelete(served.ann, parent).status == 200
        assert served.ann.bytes_of(parent) == OLD
        assert served.ann.bytes_of(child) == NEW
        gone(served.ann, parent)
    plan = collected(tmp_path, 0, dry_run=True)
    done = collected(tmp_path, 0)
    assert plan.expired == done.expired == 2
    assert plan.collected.forgotten == done.collected.forgotten >= 70, "only what was alone"
    assert plan.collected.manifests_removed == done.collected.manifests_removed == 1
    verified(tmp_path)
    with two_projects(tmp_path, keep_deleted=DAY) as served:
        for image in (parent, alone):
            answer = undelete(served.ann, image)
            assert (answer.status, answer.code) == (410, "too-late")
            assert undelete(served.bob, image).code == "not-found"
        served.server.run(until_quiet(served.server.services))
        assert served.ann.bytes_of(child) == NEW
    assert collected(tmp_path, 0).collected.manifests_removed == 2, "the child was coalesced, its parent is not needed"
    verified(tmp_path)


def test_stats_and_verify_count_a_deleted_image_that_can_be_brought_back(tmp_path: Path) -> None:
    with two_projects(tmp_path, keep_deleted=DAY) as served:
        gone(served.ann, served.ann.put_image(OLD))
        served.ann.put_image(NEW)
    with looked_after(tmp_path / "data") as (store, records):
        found = administration.stats(store, records, Silent(), garbage=True)
    assert (found.images, found.logical) == ({"active": 1, "deleted": 1}, len(OLD) + len(NEW))
    assert found.store.garbage is not None
    assert found.store.garbage.blocks == 0


def test_an_upload_that_its_images_deletion_ends_leaves_nothing_to_bring_back(served: TwoProjects) -> None:
    image = served.ann.new_image()
    gone(served.ann, image)
    answer = undelete(served.ann, image)
    assert (answer.status, answer.code) == (410, "too-late")
    assert served.ann.call("PUT", f"/v2/images/{image}/file", OLD, OCTETS).status == 404


def test_no_child_is_made_from_a_deleted_parent_until_it_is_back(served: TwoProjects) -> None:
    """In the words for any id that is none; what was a child before stays one."""
    parent = served.ann.put_image(OLD)
    child = served.ann.put_image(NEW, parent_image_ref=parent)
    queued = served.ann.new_image(parent_image_ref=parent)
    gone(served.ann, parent)
    wanted = {"disk_format": "raw", "container_format": "bare", "parent_image_ref": parent}
    refused = served.ann.call("POST", "/v2/images", json_body=wanted)
    unknown = served.ann.call("POST", "/v2/images", json_body={**wanted, "parent_image_ref": UNKNOWN})
    assert refused.json["message"] == unknown.json["message"].replace(UNKNOWN, parent)
    assert served.ann.call("PUT", f"/v2/images/{queued}/file", NEW, OCTETS).status == 204
    assert undelete(served.ann, parent).status == 200
    assert served.ann.call("POST", "/v2/images", json_body=wanted).status == 201
    for image in (child, queued):
        assert served.ann.bytes_of(image) == NEW
        assert served.ann.call("GET", f"/v2/images/{image}").json["parent_image_ref"] == parent


def test_a_download_goes_on_while_its_image_is_deleted_and_brought_back(served: TwoProjects) -> None:
    image = served.ann.put_image(OLD * 4)
    got: list[tuple[int, bool]] = []

    def read() -> None:
        answer = served.ann.call("GET", f"/v2/images/{image}/file")
        got.append((answer.status, answer.body == OLD * 4))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(5):
        if served.ann.call("DELETE", f"/v2/images/{image}").status == 204:
            assert undelete(served.ann, image).status == 200
    reader.join()
    # It may have asked while the image was away.
    assert got in ([(200, True)], [(404, False)])


def test_many_who_delete_and_bring_back_at_once_leave_one_image_whole(served: TwoProjects) -> None:
    image = served.ann.put_image(OLD)
    answers: list[int] = []

    def work(turn: int) -> None:
        for _ in range(6):
            path = f"/v2/images/{image}" + ("" if turn % 2 else "/actions/undelete")
            answers.append(served.ann.call("DELETE" if turn % 2 else "POST", path).status)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {200, 204, 404, 409}
    assert 0 <= answers.count(204) - answers.count(200) <= 1
    with contextlib.suppress(AssertionError):
        undelete(served.ann, image)
    assert served.ann.bytes_of(image) == OLD
    assert deleted(served.ann) == []
