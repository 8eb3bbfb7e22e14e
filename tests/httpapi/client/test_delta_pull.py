"""Pulls of what changed against a real server in this process, with what passes between them counted."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from bench.counting_proxy import CountingProxy
from httpapi.client.api import ImagesApi
from httpapi.client.delta_api import DeltaApi
from httpapi.client.delta_pull import pull_changes
from httpapi.client.errors import Interrupted, Mismatch, SourceRefused
from httpapi.client.update_target import UpdatedDevice, UpdatedFile, make_zeros, open_update
from tests.kit.changing_disk import BLOCK, ChangingDisk
from tests.kit.image_service import image_service
from tests.kit.kept_report import KeptReport
from tests.kit.open_files import none_left_open
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from httpapi.client.pull import PullResult

MIB = 1 << 20
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("httpapi.client.retrying.BACKOFF_SECONDS", (0.01,))


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
    return ChangingDisk(tmp_path / "disk.raw", 8 * MIB + 1234, random.Random(2))


def stored(server: RunningServer, data: bytes, **want: object) -> str:
    image_id = server.new_image(**want)
    assert server.call("PUT", f"/v2/images/{image_id}/file", data, RAW).status == 204
    return image_id


def pull(wire: CountingProxy, image_id: str, path: Path, *seeds: Path, report: KeptReport | None = None) -> PullResult:
    async def connected() -> PullResult | None:
        async with ImagesApi(wire.url) as api:
            target = open_update(str(path), [str(seed) for seed in seeds], force=True)
            assert target is not None, "nothing is here to begin with"
            return await pull_changes(api, image_id, target, report or KeptReport())

    wire.taken()
    done = asyncio.run(connected())
    assert done is not None
    return done


def test_only_the_blocks_that_differ_are_fetched(
    server: RunningServer, wire: CountingProxy, disk: ChangingDisk
) -> None:
    old = bytes(disk.held)
    disk.write(2 * MIB + 5, os.urandom(10))
    disk.write(4 * MIB, bytes(MIB))
    disk.resize(9 * MIB)
    image = stored(server, bytes(disk.held))
    new = bytes(disk.held)
    disk.path.write_bytes(old)
    done = pull(wire, image, disk.path)
    assert wire.taken()[1] < 2 * BLOCK + 20_000
    assert disk.path.read_bytes() == new
    assert (done.verified, done.unchanged) == (True, len(new) - BLOCK)
    assert disk.path.stat().st_blocks * 512 < 5 * MIB
    assert [each.name for each in disk.path.parent.iterdir() if "part" in each.name] == []


def test_requests_are_a_small_part_of_what_was_written(
    server: RunningServer, wire: CountingProxy, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = stored(server, bytes(disk.held))
    disk.path.write_bytes(bytes(len(disk.held)))
    for name, size in (("LEAST", 256 << 10), ("FULL", 1 << 20), ("SHARE", 4)):
        monkeypatch.setattr(f"httpapi.client.block_fetch.{name}", size)
    plain, asked = DeltaApi.blocks, []

    def blocks(self: DeltaApi, image_id: str, wanted: Any) -> Any:
        asked.append(sum(each.count for each in wanted) * BLOCK)
        return plain(self, image_id, wanted)

    monkeypatch.setattr(DeltaApi, "blocks", blocks)
    pull(wire, image, disk.path)
    assert disk.path.read_bytes() == bytes(disk.held)
    assert max(asked[:4]) <= 256 << 10
    assert 256 << 10 < max(asked) <= 1 << 20


def test_random_versions_are_pulled_one_onto_the_other(
    server: RunningServer, wire: CountingProxy, disk: ChangingDisk, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(b"something else")
    for _ in range(8):
        disk.edit()
        pull(wire, stored(server, bytes(disk.held)), copy)
        assert copy.read_bytes() == bytes(disk.held)


def test_a_seed_gives_what_it_has(
    server: RunningServer, wire: CountingProxy, disk: ChangingDisk, tmp_path: Path
) -> None:
    (tmp_path / "seed").write_bytes(bytes(disk.held))
    disk.write(3 * MIB, os.urandom(BLOCK))
    pull(wire, stored(server, bytes(disk.held)), tmp_path / "new", tmp_path / "seed")
    assert wire.taken()[1] < 2 * BLOCK + 20_000
    assert (tmp_path / "new").read_bytes() == bytes(disk.held)


def test_an_image_cut_by_content_is_updated_too(server: RunningServer, wire: CountingProxy, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(3 * MIB)
    image = stored(server, data, drystone_cutting="content-defined:16KiB")
    (tmp_path / "old").write_bytes(data[:MIB] + bytes(9) + data[MIB + 9 :])
    pull(wire, image, tmp_path / "old")
    assert wire.taken()[1] < 200_000
    assert (tmp_path / "old").read_bytes() == data


@pytest.mark.parametrize("failure", [Interrupted("the network is gone"), KeyboardInterrupt()])
def test_an_interrupted_pull_leaves_the_old_file_and_goes_on(
    server: RunningServer,
    wire: CountingProxy,
    disk: ChangingDisk,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
) -> None:
    old = bytes(disk.held)
    disk.write(2 * MIB, os.urandom(3 * MIB))
    image = stored(server, bytes(disk.held))
    new = bytes(disk.held)
    disk.path.write_bytes(old)
    monkeypatch.setattr("httpapi.client.block_fetch.FULL", MIB // 2)
    plain, written = UpdatedFile.put, 0

    def put(self: Any, offset: int, block: memoryview) -> None:
        nonlocal written
        written += offset >= 2 * MIB
        if written > 30:
            raise failure
        plain(self, offset, block)

    report = KeptReport()
    with monkeypatch.context() as broken, pytest.raises(type(failure)):
        broken.setattr(UpdatedFile, "put", put)
        pull(wire, image, disk.path, report=report)
    assert disk.path.read_bytes() == old
    assert any("the same command goes on" in note for note in report.notes)
    first = wire.taken()[1]
    pull(wire, image, disk.path)
    assert disk.path.read_bytes() == new
    assert first + wire.taken()[1] < 3 * MIB * 1.2 + 5 * MIB // 2


def test_a_block_that_is_not_what_the_manifest_says_is_never_written(
    server: RunningServer, wire: CountingProxy, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = bytes(disk.held)
    disk.write(2 * MIB, os.urandom(BLOCK))
    image = stored(server, bytes(disk.held))
    disk.path.write_bytes(old)
    monkeypatch.setattr("httpapi.client.block_fetch.decompress", lambda _, length: bytes(length))
    with pytest.raises(Mismatch, match="is not block 32 of image"):
        pull(wire, image, disk.path)
    assert disk.path.read_bytes() == old
    assert [each.name for each in disk.path.parent.iterdir() if "part" in each.name] == []


def test_a_part_with_a_second_name_is_not_written_to(
    server: RunningServer, wire: CountingProxy, disk: ChangingDisk
) -> None:
    precious = disk.path.with_name("precious")
    precious.write_bytes(bytes(disk.held))
    os.link(precious, disk.path.with_name(f".{disk.path.name}.{'0' * 16}.drystone-part"))
    disk.write(2 * MIB, os.urandom(BLOCK))
    before = precious.read_bytes()
    pull(wire, stored(server, bytes(disk.held)), disk.path)
    assert precious.read_bytes() == before
    assert disk.path.read_bytes() == bytes(disk.held)


def test_zeros_become_holes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * BLOCK))
    before = path.stat().st_blocks
    with path.open("r+b") as file:
        make_zeros(file.fileno(), BLOCK, BLOCK, "file")
    assert path.read_bytes()[BLOCK : 2 * BLOCK] == bytes(BLOCK)
    assert path.stat().st_blocks < before


def test_what_is_complete_is_left_as_it_is_after_an_interruption(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with none_left_open():
        target = open_update(str(tmp_path / "file"), [], force=True)
        assert target is not None
        target.prepare(3)
        target.put(0, memoryview(b"new"))
        target.finish()
        assert "was complete already" in target.leave()
        assert (tmp_path / "file").read_bytes() == b"new"
    device = UpdatedDevice(str(tmp_path / "file"), [])
    device.prepare(3)
    device.put(0, memoryview(b"all"))
    device.finish()
    assert device.leave().endswith("was complete already")


def test_a_file_that_cannot_be_read_may_be_replaced(
    tmp_path: Path, disk: ChangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    plain = os.open

    def unreadable(name: Any, flags: int, *given: Any, **named: Any) -> int:
        if str(name) == str(path):
            raise PermissionError(13, "Permission denied", name)
        return plain(name, flags, *given, **named)

    monkeypatch.setattr("os.open", unreadable)
    assert open_update(str(path), [], force=True) is None
    target = open_update(str(path), [str(disk.path)], force=True)
    assert target is not None
    assert [each.name for each in target.seeds] == [str(disk.path)]
    target.discard()
    monkeypatch.setattr("httpapi.client.update_target.open_block_file", None)
    with pytest.raises(TypeError):
        UpdatedFile(path, [], force=True)
    assert [each.name for each in tmp_path.iterdir() if "part" in each.name] == []


def test_a_named_pipe_is_no_seed_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceRefused, match="no regular file"):
        open_update(str(tmp_path / "new"), [str(tmp_path / "pipe")], force=True)


def test_nothing_is_to_be_gained_where_nothing_is(tmp_path: Path) -> None:
    assert open_update(str(tmp_path / "new"), [], force=False) is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").write_bytes(b"x")
    assert open_update(str(tmp_path / "there"), [], force=False) is None
