"""Delta pushes against a real server in this process, with what passes between them counted."""

from __future__ import annotations

import asyncio
import mmap
import os
import random
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from bench.counting_proxy import CountingProxy
from blockstore.journal import HEADER_SIZE, RECORD_SIZE
from httpapi.client import comparison, delta_api, names_cache, other_bases
from httpapi.client.api import ImagesApi
from httpapi.client.block_file import open_block_file
from httpapi.client.changed_extents import ChangedExtents
from httpapi.client.errors import Conflict, Interrupted, Mismatch, SourceRefused
from tests.kit.changing_disk import BLOCK, ChangingDisk
from tests.kit.filled_store import flip
from tests.kit.image_service import image_service
from tests.kit.pusher import RAW, Pusher
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


MIB = 1 << 20


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("httpapi.client.retrying.BACKOFF_SECONDS", (0.01,))
    # The tests' directory may be one.
    monkeypatch.setattr(names_cache, "IN_MEMORY", frozenset())


@pytest.fixture
def server(data_root: Path) -> Iterator[RunningServer]:
    with image_service(data_root, block_size=BLOCK) as service, RunningServer(service.services) as running:
        yield running


@pytest.fixture
def wire(server: RunningServer) -> Iterator[CountingProxy]:
    with CountingProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def disk(tmp_path: Path) -> ChangingDisk:
    return ChangingDisk(tmp_path / "disk.raw", 8 * MIB + 1234, random.Random(1))


@pytest.fixture
def pusher(server: RunningServer, wire: CountingProxy, disk: ChangingDisk, tmp_path: Path) -> Pusher:
    return Pusher(server, wire, disk, tmp_path / "state")


def test_only_the_blocks_that_differ_are_sent(pusher: Pusher, disk: ChangingDisk) -> None:
    parent = pusher.whole()
    disk.write(2 * MIB + 5, os.urandom(10))
    disk.write(5 * MIB, os.urandom(BLOCK))
    done = pusher.push(parent)
    assert pusher.wire.taken()[0] < 2 * BLOCK + 8000
    assert (done.verified, done.size, done.image.parent_image_ref) == (True, len(disk.held), parent)
    assert done.unchanged == done.size - 2 * BLOCK
    assert pusher.report.done == pusher.report.total == done.size
    pusher.is_right(done.image.id)
    assert list(pusher.state.iterdir()) == []


def test_random_edits_growth_and_shrinkage_are_pushed_right(pusher: Pusher, disk: ChangingDisk) -> None:
    image = pusher.whole()
    for _ in range(12):
        disk.edit()
        image = pusher.push(image).image.id
        pusher.is_right(image)


def test_an_emptied_file_and_a_file_that_grows_from_nothing_are_pushed(pusher: Pusher, disk: ChangingDisk) -> None:
    image = pusher.whole()
    for size in (0, 5 * BLOCK + 7, 5 * BLOCK + 7, 2 * BLOCK):
        disk.resize(size)
        image = pusher.push(image).image.id
        pusher.is_right(image)


def test_zeros_over_data_travel_as_holes(pusher: Pusher, disk: ChangingDisk) -> None:
    parent = pusher.whole()
    disk.write(2 * MIB, bytes(2 * MIB))
    done = pusher.push(parent)
    assert pusher.wire.taken()[0] < 8000
    pusher.is_right(done.image.id)


def test_an_unchanged_file_is_not_read_again(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_cache, "QUIET_SECONDS", 0)
    first = pusher.push(pusher.whole())
    disk.path.chmod(0o600)
    pusher.push(first.image.id)  # another ctime: read, and kept
    monkeypatch.setattr("httpapi.client.block_file.BlockFile.fill", None)
    done = pusher.push(first.image.id)
    assert (done.sent, done.unchanged) == (0, len(disk.held))
    assert pusher.wire.taken()[0] < 5000
    pusher.is_right(done.image.id)


def test_a_write_through_a_memory_map_is_not_missed(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_cache, "QUIET_SECONDS", 0)
    image = pusher.whole()
    with disk.path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        for byte in range(1, 4):
            mapped[2 * MIB] = disk.held[2 * MIB] = byte
            image = pusher.push(image).image.id
            pusher.is_right(image)


def test_a_write_while_the_file_is_written_back_leaves_nothing_in_the_cache(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than a tick of the clock that a file's times come from, less than the sleep below.
    monkeypatch.setattr(names_cache, "QUIET_SECONDS", 0.02)

    def settle(_: Any) -> None:
        disk.write(2 * MIB, os.urandom(10))
        time.sleep(0.05)

    monkeypatch.setattr("httpapi.client.block_file.BlockFile.settle", settle)
    pusher.push(pusher.whole())
    stamp = open_block_file(str(disk.path)).stamp()
    assert stamp is not None
    assert pusher.cache is not None
    assert pusher.cache.find(stamp, BLOCK) is None


def test_a_cached_file_is_read_where_it_differs_from_another_parent(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_cache, "QUIET_SECONDS", 0)
    old = pusher.whole()
    disk.write(3 * MIB, os.urandom(3 * BLOCK))
    for _ in range(2):
        done = pusher.push(old)
        assert 3 * BLOCK < done.sent < 5 * BLOCK
        pusher.is_right(done.image.id)


def test_a_file_that_changes_before_its_scan_is_not_taken_for_what_it_was(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_cache, "QUIET_SECONDS", 0)
    parent = pusher.push(pusher.whole()).image.id
    plain = delta_api.DeltaApi.begin

    async def begin(self: Any, image: str, new: Any) -> Any:
        disk.write(2 * MIB, os.urandom(10))
        return await plain(self, image, new)

    monkeypatch.setattr(delta_api.DeltaApi, "begin", begin)
    pusher.is_right(pusher.push(parent).image.id)


def test_a_file_that_was_changed_a_moment_before_is_not_cached(pusher: Pusher, disk: ChangingDisk) -> None:
    done = pusher.push(pusher.whole())
    stamp = open_block_file(str(disk.path)).stamp()
    assert stamp is not None
    assert pusher.cache is not None
    assert pusher.cache.find(stamp, BLOCK) is None
    assert done.verified


def changing(pusher: Pusher, monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Has `change` happen in the middle of the next scan."""
    plain, once = comparison.Comparison.unchanged, [change]

    def unchanged(self: Any, looked: Any) -> int:
        if once:
            once.pop()()
        return plain(self, looked)

    monkeypatch.setattr(comparison.Comparison, "unchanged", unchanged)


def test_a_file_that_changes_while_it_is_read_is_noticed_and_leaves_nothing(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = pusher.whole()
    changing(pusher, monkeypatch, lambda: disk.write(100, b"new"))
    with pytest.raises(SourceRefused, match="changed while it was read"):
        pusher.push(parent)
    assert pusher.begun() == []
    changing(pusher, monkeypatch, lambda: disk.write(100, b"newer"))
    pusher.terms["live"] = True
    assert pusher.push(parent).verified


@pytest.mark.parametrize("more", [1, BLOCK, -BLOCK])
def test_a_live_file_that_changes_its_size_is_refused(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    parent = pusher.whole()
    pusher.terms["live"] = True
    changing(pusher, monkeypatch, lambda: disk.resize(len(disk.held) + more))
    with pytest.raises(SourceRefused, match="changed its size while it was read"):
        pusher.push(parent)
    assert pusher.begun() == []
    pusher.is_right(pusher.push(parent).image.id)


def test_only_touched_extents_are_read(pusher: Pusher, disk: ChangingDisk) -> None:
    parent = pusher.whole()
    before = bytes(disk.held)
    disk.write(2 * MIB, os.urandom(10))
    disk.write(4 * MIB, os.urandom(10))
    pusher.terms["touched"] = ChangedExtents([(4 * MIB, 10)])
    done = pusher.push(parent)
    answer = pusher.server.call("GET", f"/v2/images/{done.image.id}/file").body
    assert answer == before[: 4 * MIB] + disk.held[4 * MIB :]
    disk.resize(len(disk.held) + 3 * BLOCK)
    disk.write(len(disk.held) - BLOCK, os.urandom(BLOCK))
    pusher.terms["touched"] = ChangedExtents([(2 * MIB, 10)])
    pusher.is_right(pusher.push(done.image.id).image.id)


def test_a_list_of_changes_is_never_laid_over_the_parent_of_an_earlier_push(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = pusher.whole()
    disk.write(2 * MIB, os.urandom(MIB))
    new = pusher.whole()
    disk.write(4 * MIB, os.urandom(10))
    pusher.terms["touched"] = ChangedExtents([(4 * MIB, 10)])
    with monkeypatch.context() as broken, pytest.raises(Interrupted):
        broken.setattr("httpapi.client.delta_api.DeltaApi.commit", refuse)
        pusher.push(old)
    (begun,) = pusher.begun()
    done = pusher.push(new)
    assert (done.image.id != begun, done.image.parent_image_ref) == (True, new)
    pusher.is_right(done.image.id)
    assert pusher.begun() == []


@pytest.mark.parametrize("step", ["commit", "manifest_digest"])
def test_a_push_by_a_list_of_changes_and_one_of_the_whole_do_not_go_on_with_each_other(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(names_cache, "QUIET_SECONDS", 0)
    parent = pusher.whole()
    disk.write(2 * MIB, os.urandom(MIB))
    pusher.terms["touched"] = ChangedExtents([(4 * MIB, 10)])
    with monkeypatch.context() as broken, pytest.raises(Interrupted):
        broken.setattr(delta_api.DeltaApi, step, refuse)
        pusher.push(parent)
    del pusher.terms["touched"]
    for _ in range(2):
        pusher.is_right(pusher.push(parent).image.id)
    assert pusher.begun() == []


@pytest.mark.parametrize("after", [100, 300_000, 1_200_000])
def test_a_push_that_was_broken_off_goes_on_and_sends_little_twice(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    parent = pusher.whole()
    disk.write(2 * MIB, os.urandom(2 * MIB))
    monkeypatch.setattr("httpapi.client.block_sender.FULL", 256 * 1024)
    plain = comparison.Comparison.has_arrived
    arrived = 0

    def has_arrived(self: Any, which: Any) -> None:
        nonlocal arrived
        which = list(which)
        plain(self, which)
        arrived += sum(each.count for each in which) * BLOCK
        if arrived > after:
            raise Interrupted("the machine is switched off")

    with monkeypatch.context() as broken, pytest.raises(Interrupted):
        broken.setattr(comparison.Comparison, "has_arrived", has_arrived)
        pusher.push(parent)
    (begun,) = pusher.begun()
    assert any("the same command goes on" in note for note in pusher.report.notes)
    sent = pusher.wire.taken()[0]
    done = pusher.push(parent)
    assert done.image.id == begun
    assert sent + pusher.wire.taken()[0] < 1.2 * 2 * MIB + 4 * 256 * 1024
    pusher.is_right(done.image.id)


def test_a_file_that_changed_since_the_push_was_broken_off_is_pushed_as_it_is_now(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = pusher.whole()
    before = bytes(disk.held[2 * MIB : 3 * MIB])
    for now in (os.urandom(MIB), before, bytes(MIB)):
        disk.write(2 * MIB, os.urandom(MIB))
        with monkeypatch.context() as broken, pytest.raises(Interrupted):
            broken.setattr("httpapi.client.delta_api.DeltaApi.commit", refuse)
            pusher.push(parent)
        disk.write(2 * MIB, now)
        done = pusher.push(parent)
        assert any("has changed since" in note for note in pusher.report.notes)
        pusher.is_right(done.image.id)
        assert pusher.begun() == []


def test_a_request_holds_no_more_of_the_image_than_the_server_takes(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("httpapi.client.block_sender", "catalog.stores.delta_blocks"):
        monkeypatch.setattr(f"{module}.MOST_UNPACKED", 4 * BLOCK)
    parent = pusher.whole()
    disk.write(2 * MIB, b"x" * 2 * MIB)
    plain, sent = delta_api.DeltaApi.send, 0

    async def send(self: Any, *given: Any) -> None:
        nonlocal sent
        sent += 1
        await plain(self, *given)

    monkeypatch.setattr(delta_api.DeltaApi, "send", send)
    pusher.is_right(pusher.push(parent).image.id)
    assert sent == 2 * MIB // (4 * BLOCK)


def test_requests_are_a_small_part_of_what_has_arrived(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = pusher.whole()
    disk.write(0, os.urandom(len(disk.held)))
    monkeypatch.setattr("httpapi.client.block_sender.LEAST", 256 << 10)
    monkeypatch.setattr("httpapi.client.block_sender.FULL", 1 << 20)
    plain, sent, arrived = delta_api.DeltaApi.send, [], 0

    async def send(self: Any, delta: Any, stream: bytes) -> None:
        nonlocal arrived
        sent.append(len(stream))
        assert len(stream) <= max(256 << 10, arrived // 4)
        await plain(self, delta, stream)
        arrived += len(stream)

    monkeypatch.setattr("httpapi.client.block_sender.SHARE", 4)
    monkeypatch.setattr(delta_api.DeltaApi, "send", send)
    pusher.is_right(pusher.push(parent).image.id)
    assert 256 << 10 < max(sent) <= 1 << 20


def test_an_id_that_is_taken_is_refused_and_its_image_not_gone_on_with(pusher: Pusher, disk: ChangingDisk) -> None:
    parent = pusher.whole()
    disk.write(2 * MIB, os.urandom(BLOCK))
    taken = pusher.server.new_image(name="disk")
    for _ in range(2):
        with pytest.raises(Conflict, match="there already"):
            pusher.push(parent, id=taken)
    assert pusher.begun() == [taken]
    assert list(pusher.state.iterdir()) == []


@pytest.mark.parametrize("theirs", [{}, {"name": "theirs"}, {"tags": ["x"]}, {"os_distro": "x"}, None])
def test_after_a_creation_that_was_not_answered_only_an_image_as_it_was_wanted_is_gone_on_with(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch, theirs: dict[str, Any] | None
) -> None:
    parent, chosen = pusher.whole(), str(uuid.uuid4())
    disk.write(2 * MIB, os.urandom(BLOCK))
    plain = ImagesApi.create_image

    async def create(self: ImagesApi, attributes: Any) -> Any:
        if theirs is None:
            await plain(self, attributes)
        else:
            pusher.server.new_image(**{"id": chosen, "name": "disk", **theirs})
        raise Interrupted("the answer is lost")

    with monkeypatch.context() as broken, pytest.raises(Interrupted):
        broken.setattr(ImagesApi, "create_image", create)
        pusher.push(parent, id=chosen)
    assert pusher.begun() == [chosen]
    if theirs is None:
        assert pusher.push(parent, id=chosen).image.id == chosen
        pusher.is_right(chosen)
        return
    before = pusher.server.call("GET", f"/v2/images/{chosen}").json
    with pytest.raises(Conflict, match="there already"):
        pusher.push(parent, id=chosen)
    assert pusher.server.call("GET", f"/v2/images/{chosen}").json == before


async def refuse(*_: object) -> None:
    raise Interrupted("the machine is switched off")


def test_a_commit_whose_answer_was_lost_is_found_done(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = pusher.whole()
    disk.write(2 * MIB, os.urandom(MIB))
    with monkeypatch.context() as broken, pytest.raises(Interrupted):
        broken.setattr("httpapi.client.delta_api.DeltaApi.manifest_digest", refuse)
        pusher.push(parent)
    done = pusher.push(parent)
    assert (done.sent, done.verified) == (0, True)
    pusher.is_right(done.image.id)
    assert len(pusher.server.call("GET", "/v2/images").json["images"]) == 2


def test_an_image_that_becomes_complete_meanwhile_is_not_taken_for_a_file_that_changed(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_cache, "QUIET_SECONDS", 0)
    parent = pusher.whole()
    disk.write(2 * MIB, os.urandom(MIB))
    with monkeypatch.context() as broken, pytest.raises(Interrupted):
        broken.setattr(delta_api.DeltaApi, "commit", refuse)
        pusher.push(parent)
    (begun,) = pusher.begun()
    then = bytes(disk.held)
    disk.write(2 * MIB, os.urandom(10))
    found = pusher.server.call("GET", f"/v2/images/{begun}/deltas").json["deltas"][0]["id"]
    plain = other_bases.fetch_others

    async def late(*given: Any) -> Any:
        # As if the commit of the interrupted push had been on its way.
        path, headers = f"/v2/images/{begun}/deltas/{found}/commit", {"Content-Type": "application/json"}
        assert pusher.server.call("POST", path, b"{}", headers).status == 200
        return await plain(*given)

    with monkeypatch.context() as overtaken, pytest.raises(SourceRefused, match="complete by now"):
        overtaken.setattr("httpapi.client.delta_upload.fetch_others", late)
        pusher.push(parent)
    assert pusher.server.call("GET", f"/v2/images/{begun}/file").body == then
    for _ in range(2):
        pusher.is_right(pusher.push(begun).image.id)


def test_an_upload_that_expired_is_begun_anew(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = pusher.whole()
    disk.write(2 * MIB, os.urandom(MIB))
    with monkeypatch.context() as broken, pytest.raises(Interrupted):
        broken.setattr("httpapi.client.delta_api.DeltaApi.commit", refuse)
        pusher.push(parent)
    (begun,) = pusher.begun()
    found = pusher.server.call("GET", f"/v2/images/{begun}/deltas").json["deltas"][0]["id"]
    assert pusher.server.call("DELETE", f"/v2/images/{begun}/deltas/{found}").status == 204
    done = pusher.push(parent)
    assert done.image.id == begun
    pusher.is_right(begun)


def test_an_upload_whose_journal_is_damaged_is_begun_anew(
    pusher: Pusher, disk: ChangingDisk, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = pusher.whole()
    disk.write(2 * MIB, os.urandom(MIB))
    with monkeypatch.context() as broken, pytest.raises(Interrupted):
        broken.setattr("httpapi.client.delta_api.DeltaApi.commit", refuse)
        pusher.push(parent)
    (begun,) = pusher.begun()
    [path] = (data_root / "journals").iterdir()
    flip(path, (HEADER_SIZE + RECORD_SIZE // 2) * 8)
    upload = pusher.server.call("GET", f"/v2/images/{begun}/deltas").json["deltas"][0]["id"]
    refused = pusher.server.call("POST", f"/v2/images/{begun}/deltas/{upload}/commit")
    assert (refused.status, refused.code) == (409, "delta-damaged")
    assert pusher.push(parent).image.id == begun
    assert any("give this upload up" in note for note in pusher.report.notes)
    pusher.is_right(begun)


def test_a_parent_that_is_gone_meanwhile_is_not_missed(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = pusher.whole()
    other = pusher.whole()
    disk.write(2 * MIB, os.urandom(MIB))
    with monkeypatch.context() as broken, pytest.raises(Interrupted):
        broken.setattr("httpapi.client.delta_api.DeltaApi.commit", refuse)
        pusher.push(parent)
    assert pusher.server.call("DELETE", f"/v2/images/{parent}").status == 204
    pusher.is_right(pusher.push(other).image.id)


def test_other_blocks_at_the_server_are_noticed(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = pusher.whole()
    disk.write(2 * MIB, os.urandom(MIB))

    async def another(*_: object) -> bytes:
        return bytes(32)

    monkeypatch.setattr("httpapi.client.delta_api.DeltaApi.manifest_digest", another)
    with pytest.raises(Mismatch, match="other blocks than were read"):
        pusher.push(parent)
    assert len(pusher.server.call("GET", "/v2/images").json["images"]) == 1


def test_another_cutting_means_a_whole_image(pusher: Pusher, disk: ChangingDisk) -> None:
    parent = pusher.whole()
    with pytest.raises(AssertionError, match="the whole image is sent"):
        pusher.push(parent, drystone_cutting="fixed:128KiB")
    pusher.is_right(pusher.push(parent, drystone_cutting="fixed:64KiB", id=str(uuid.uuid4())).image.id)


def test_blocks_of_other_images_are_named_and_not_sent(pusher: Pusher, disk: ChangingDisk) -> None:
    parent = pusher.whole()
    other = os.urandom(3 * MIB)
    image_id = pusher.server.new_image(name="other")
    assert pusher.server.call("PUT", f"/v2/images/{image_id}/file", other, RAW).status == 204
    disk.write(4 * MIB, other[: 2 * MIB])
    disk.write(2 * MIB, other[BLOCK : 2 * BLOCK])
    record = asyncio.run(record_of(pusher.wire.url, image_id))
    pusher.terms["others"] = [record]
    done = pusher.push(parent)
    assert done.sent < 5000
    pusher.is_right(done.image.id)


async def record_of(url: str, image_id: str) -> Any:
    async with ImagesApi(url) as api:
        return await api.get_image(image_id)


def test_a_block_that_another_image_does_not_have_any_more_is_sent(
    pusher: Pusher, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = pusher.whole()
    other = os.urandom(MIB)
    image_id = pusher.server.new_image(name="other")
    assert pusher.server.call("PUT", f"/v2/images/{image_id}/file", other, RAW).status == 204
    disk.write(4 * MIB, other)
    pusher.terms["others"] = [asyncio.run(record_of(pusher.wire.url, image_id))]
    plain = delta_api.DeltaApi.begin

    async def begin(self: Any, image: str, new: Any) -> Any:
        pusher.server.call("DELETE", f"/v2/images/{image_id}")
        return await plain(self, image, new)

    monkeypatch.setattr(delta_api.DeltaApi, "begin", begin)
    done = pusher.push(parent)
    assert done.sent > MIB
    pusher.is_right(done.image.id)
