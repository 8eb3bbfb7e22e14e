"""Pushes of a file that is known to be its parent, against a real server in this process."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from bench.counting_proxy import CountingProxy
from httpapi.client import names_cache
from httpapi.client.errors import ApiError, Interrupted, SourceRefused
from httpapi.client.quick_api import QuickApi
from tests.kit.changing_disk import BLOCK, ChangingDisk
from tests.kit.image_service import image_service
from tests.kit.pusher import RAW, Pusher
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture(autouse=True)
def kept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_cache, "IN_MEMORY", frozenset())
    monkeypatch.setattr(names_cache, "QUIET_SECONDS", 0)


@pytest.fixture
def server(data_root: Path) -> Iterator[RunningServer]:
    with image_service(data_root, block_size=BLOCK) as service, RunningServer(service.services) as running:
        yield running


@pytest.fixture
def disk(tmp_path: Path) -> ChangingDisk:
    return ChangingDisk(tmp_path / "disk.raw", 8 * MIB + 1234, random.Random(1))


@pytest.fixture
def pusher(server: RunningServer, disk: ChangingDisk, tmp_path: Path) -> Iterator[Pusher]:
    with CountingProxy(server.port) as wire:
        yield Pusher(server, wire, disk, tmp_path / "state")


Asked = list[tuple[str, str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Each request's method and path."""
    seen: Asked = []
    between(monkeypatch, lambda method, path: seen.append((method, path)))
    return seen


def between(monkeypatch: pytest.MonkeyPatch, before: Callable[[str, str], object]) -> None:
    """Calls `before` before each request."""
    plain = QuickApi.ask

    def ask(self: QuickApi, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, object]:
        before(method, path)
        return plain(self, method, path, body)

    monkeypatch.setattr(QuickApi, "ask", ask)


def switched_off(*steps: str) -> Callable[[str, str], None]:
    """The network is gone as soon as a request of one of these steps is to leave."""

    def before(method: str, path: str) -> None:
        if f"{method} {path.rpartition('/')[2]}" in steps or method in steps:
            raise Interrupted("the machine is switched off")

    return before


def test_a_file_that_is_known_to_be_its_parent_becomes_an_image_without_being_read(
    pusher: Pusher, disk: ChangingDisk, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pusher.whole()
    assert pusher.push_unchanged(None) is None, "nobody has scanned it"
    known = pusher.push(first).image.id
    monkeypatch.setattr("httpapi.client.block_file.BlockFile.fill", None)
    for _ in range(3):
        asked.clear()
        done = pusher.push_unchanged(None)
        assert done is not None
        assert (done.verified, done.unchanged, done.sent) == (True, len(disk.held), 0)
        assert sum(pusher.wire.taken()) < 12_000
        assert done.image.parent_image_ref == known
        assert [method for method, _ in asked] == ["GET", "POST", "POST", "POST", "GET"]
        assert f"({known})" in pusher.report.notes[-1]
        known = done.image.id
    pusher.is_right(known)
    assert list(pusher.state.iterdir()) == []


def test_an_image_of_other_blocks_is_no_parent(pusher: Pusher, disk: ChangingDisk) -> None:
    known = pusher.push(pusher.whole()).image.id
    other = pusher.server.new_image(name="disk")
    assert pusher.server.call("PUT", f"/v2/images/{other}/file", bytes(9), RAW).status == 204
    assert pusher.push_unchanged(None) is None, "the newest is another one"
    assert pusher.push_unchanged(other) is None
    assert pusher.push_unchanged(known) is not None
    assert pusher.push_unchanged("none") is None
    disk.path.chmod(0o600)
    assert pusher.push_unchanged(known) is None, "its ctime is another"
    assert pusher.begun() == []


def test_a_parent_that_somebody_else_made_of_the_same_blocks_is_asked_for_its_manifest(
    pusher: Pusher, asked: Asked
) -> None:
    known = pusher.push(pusher.whole()).image.id
    (text,) = pusher.state.parent.joinpath("names").glob("*.json")
    text.write_text(text.read_text().replace(known, "somebody else's"))
    assert pusher.push_unchanged(known) is not None
    assert ("GET", f"/images/{known}/manifest") in asked


@pytest.mark.parametrize("step", ["POST deltas", "POST commit", "GET manifest"])
def test_one_that_fails_leaves_nothing(pusher: Pusher, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    pusher.push(pusher.whole())
    with monkeypatch.context() as broken:
        between(broken, switched_off(step))
        assert pusher.push_unchanged(None) is None
    assert len(pusher.server.call("GET", "/v2/images").json["images"]) == 2
    assert list(pusher.state.iterdir()) == []
    assert pusher.push_unchanged(None) is not None


def test_other_blocks_than_the_parents_are_noticed(pusher: Pusher, monkeypatch: pytest.MonkeyPatch) -> None:
    pusher.push(pusher.whole())
    with monkeypatch.context() as broken:
        broken.setattr("httpapi.client.unchanged_push._Unchanged._asked", lambda *_: "ab" * 32)
        assert pusher.push_unchanged(None) is None
    assert len(pusher.server.call("GET", "/v2/images").json["images"]) == 2


@pytest.mark.parametrize("step", ["POST images", "POST deltas", "POST commit"])
def test_what_a_killed_one_left_is_deleted_by_the_next(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    pusher.push(pusher.whole())
    for changed in (False, True):
        with monkeypatch.context() as broken:
            between(broken, switched_off(step, "DELETE"))
            assert pusher.push_unchanged(None) is None
        if changed:
            disk.write(5, b"another block")
        assert len(pusher.begun()) == (step != "POST images")
        assert (pusher.push_unchanged(None) is None) is changed
        assert pusher.begun() == []
        assert list(pusher.state.iterdir()) == []


def test_an_interrupted_one_leaves_nothing(pusher: Pusher, monkeypatch: pytest.MonkeyPatch) -> None:
    pusher.push(pusher.whole())

    def interrupt(method: str, path: str) -> None:
        if path.endswith("/commit"):
            raise KeyboardInterrupt

    between(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        pusher.push_unchanged(None)
    assert pusher.begun() == []
    assert list(pusher.state.iterdir()) == []


def test_pushes_of_one_file_wait_for_each_other_and_delete_nothing_of_each_others(
    pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher.push(pusher.whole())
    refused = 0

    def before(_method: str, path: str) -> None:
        nonlocal refused
        if path.endswith("/deltas"):
            with pytest.raises(SourceRefused, match="another push"):
                pusher.push_unchanged(None)
            refused += 1

    between(monkeypatch, before)
    assert pusher.push_unchanged(None) is not None
    assert refused == 1
    assert pusher.begun() == []
    assert pusher.state.stat().st_mode & 0o777 == 0o700
    assert list(pusher.state.iterdir()) == []


def test_an_id_that_is_taken_costs_nobody_an_image(pusher: Pusher, monkeypatch: pytest.MonkeyPatch) -> None:
    pusher.push(pusher.whole())
    taken = pusher.server.new_image(name="another")
    assert pusher.push_unchanged(None, id=taken) is None, "it may be another image's"
    monkeypatch.setattr("httpapi.client.unchanged_push.uuid.uuid4", lambda: taken)
    for _ in range(2):
        assert pusher.push_unchanged(None) is None
    assert pusher.begun() == [taken]


def test_an_image_that_was_left_and_may_not_be_deleted_stops_no_push(
    pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher.push(pusher.whole())
    with monkeypatch.context() as broken:
        between(broken, switched_off("POST deltas", "DELETE"))
        assert pusher.push_unchanged(None) is None
    (left,) = pusher.begun()

    def forbidden(method: str, _path: str) -> None:
        if method == "DELETE":
            raise ApiError(403, "it is protected", None)

    with monkeypatch.context() as refusing:
        between(refusing, forbidden)
        assert pusher.push_unchanged(None) is not None
    assert any(left in note and "it stays" in note for note in pusher.report.notes)
    assert pusher.push_unchanged(None) is not None
    assert pusher.begun() == [left]


def test_names_of_files_that_are_pushed_as_unchanged_count_as_used(
    pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher.push(pusher.whole())
    (names,) = (each for each in pusher.state.parent.joinpath("names").iterdir() if not each.suffix)
    before = names.stat().st_mtime_ns
    time.sleep(0.01)
    assert pusher.push_unchanged(None) is not None
    assert names.stat().st_mtime_ns > before


def test_nobody_there_is_for_the_usual_way_to_tell(pusher: Pusher) -> None:
    pusher.push(pusher.whole())
    pusher.wire.target = 1
    assert pusher.push_unchanged(None) is None


def test_more_than_the_same_blocks_again_is_for_the_usual_way(pusher: Pusher, asked: Asked) -> None:
    known = pusher.push(pusher.whole()).image.id
    assert pusher.push_unchanged(None, drystone_cutting="fixed:64KiB") is None
    pusher.terms = {"bases": [known]}
    assert pusher.push_unchanged(None) is None
    assert asked == []
