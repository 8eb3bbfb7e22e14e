from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING

import pytest

from httpapi.client.api import ImagesApi
from httpapi.client.errors import ApiError, Conflict, Interrupted, Mismatch, SourceRefused
from httpapi.client.push import push
from httpapi.client.source import PIECE, FileSource, StreamSource, open_source
from tests.kit.kept_report import KeptReport

if TYPE_CHECKING:
    from pathlib import Path

    from httpapi.client.push_terms import PushResult
    from httpapi.client.source import Source
    from tests.kit.small_server import SmallServer

WANT = {"name": "disk", "disk_format": "raw", "container_format": "bare"}


def send(small: SmallServer, source: Source, report: KeptReport | None = None, *, keep: bool = False) -> PushResult:
    async def connected() -> PushResult:
        async with ImagesApi(small.url) as api:
            return await push(api, source, WANT, report or KeptReport(), keep=keep)

    try:
        return asyncio.run(connected())
    finally:
        source.close()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """More pieces than there are buffers, data and holes, and an odd tail."""
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.write(os.urandom(7 * PIECE))
        file.seek(12 * PIECE)
        file.write(os.urandom(PIECE + 1234))
    return path


def test_a_file_arrives_byte_for_byte_and_is_verified(small: SmallServer, disk: Path) -> None:
    report = KeptReport()
    result = send(small, open_source(str(disk)), report)
    data = disk.read_bytes()
    assert small.data[result.image.id] == data
    assert (result.size, result.verified, result.image.status) == (len(data), True, "active")
    assert (report.total, report.done, report.notes) == (len(data), len(data), [])


def test_a_stream_of_unknown_size_arrives(small: SmallServer, disk: Path) -> None:
    read_end, write_end = os.pipe()
    data = disk.read_bytes()

    async def both() -> PushResult:
        feeding = asyncio.create_task(asyncio.to_thread(feed))
        async with ImagesApi(small.url) as api:
            result = await push(api, source, WANT, KeptReport())
        await feeding
        return result

    def feed() -> None:
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(data)

    source = StreamSource(read_end, "a pipe", None)
    result = asyncio.run(both())
    source.close()
    assert small.data[result.image.id] == data
    assert result.verified


def test_an_empty_file_arrives(small: SmallServer, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    result = send(small, open_source(str(tmp_path / "empty")))
    assert (result.size, result.image.size, result.verified) == (0, 0, True)


@pytest.mark.parametrize("algorithm", ["sha256", None])
def test_a_server_with_another_hash_is_verified_by_that(small: SmallServer, disk: Path, algorithm: str | None) -> None:
    small.faults.hash_algorithm = algorithm
    assert send(small, open_source(str(disk))).verified


def test_a_server_without_a_hash_leaves_a_note(small: SmallServer, disk: Path) -> None:
    small.faults.hash_algorithm, small.faults.no_checksum = None, True
    report = KeptReport()
    assert not send(small, open_source(str(disk)), report).verified
    assert any("not verified" in note for note in report.notes)


def test_a_wrong_hash_is_an_error_and_the_image_is_deleted(small: SmallServer, disk: Path) -> None:
    small.faults.wrong_hash = True
    with pytest.raises(Mismatch, match="sha512 differs"):
        send(small, open_source(str(disk)))
    assert small.images == {}


def test_a_refused_upload_takes_its_image_back_unless_it_is_to_be_kept(small: SmallServer, disk: Path) -> None:
    small.faults.refuse_upload = 413
    with pytest.raises(ApiError, match="refused"):
        send(small, open_source(str(disk)))
    assert small.images == {}
    report = KeptReport()
    with pytest.raises(ApiError, match="refused"):
        send(small, open_source(str(disk)), report, keep=True)
    assert list(small.images) == [note.split()[1] for note in report.notes]


def test_a_broken_connection_takes_its_image_back(small: SmallServer, disk: Path) -> None:
    small.faults.break_upload_after = PIECE
    with pytest.raises(Interrupted):
        send(small, open_source(str(disk)))
    assert small.images == {}


def test_a_file_that_shrinks_while_it_is_sent_is_an_error_and_leaves_nothing(small: SmallServer, disk: Path) -> None:
    source = open_source(str(disk))
    os.truncate(disk, PIECE + 5)
    with pytest.raises(SourceRefused, match="changed its size"):
        send(small, source)
    assert small.images == {}


def count(small: SmallServer, method: str, ending: str = "") -> int:
    return sum(asked == method and path.endswith(ending) for asked, path, _ in small.asked)


def test_a_source_that_cannot_be_read_never_becomes_an_image(small: SmallServer, disk: Path) -> None:
    unreadable = FileSource(os.open(disk, os.O_WRONLY), str(disk))
    with pytest.raises(SourceRefused, match="cannot read"):
        send(small, unreadable)
    assert count(small, "POST") == 0


def test_an_upload_that_was_verified_is_not_asked_about_again(small: SmallServer, disk: Path) -> None:
    result = send(small, open_source(str(disk)))
    assert result.image.status == "active"
    assert count(small, "GET", result.image.id) == 1


def test_an_image_whose_creation_was_not_answered_is_deleted_by_the_id_that_was_chosen(
    small: SmallServer, disk: Path
) -> None:
    small.faults.refuse_create = 502
    report = KeptReport()
    with pytest.raises(ApiError, match="The answer is lost"):
        send(small, open_source(str(disk)), report)
    assert small.images == {}
    assert (count(small, "DELETE"), report.notes) == (1, [])


def test_an_interruption_during_the_creation_takes_the_image_back(small: SmallServer, disk: Path) -> None:
    small.faults.stall_create = True
    source = open_source(str(disk))

    def until_created() -> None:
        while not small.images:
            select.select([], [], [], 0.01)

    async def interrupted() -> None:
        async with ImagesApi(small.url) as api:
            pushing = asyncio.create_task(push(api, source, WANT, KeptReport()))
            await asyncio.to_thread(until_created)
            pushing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pushing

    asyncio.run(interrupted())
    source.close()
    assert small.images == {}


def test_an_image_with_an_id_of_the_users_own_is_not_deleted_when_its_creation_is_in_doubt(
    small: SmallServer, disk: Path
) -> None:
    small.faults.refuse_create = 502
    source, report, mine = open_source(str(disk)), KeptReport(), "abcdef01-2345-4678-9abc-def012345678"

    async def connected() -> None:
        async with ImagesApi(small.url) as api:
            await push(api, source, {**WANT, "id": mine}, report)

    with pytest.raises(ApiError):
        asyncio.run(connected())
    source.close()
    assert report.notes == [f"image {mine} may have been created: `drystone show {mine}` tells"]
    assert count(small, "DELETE") == 0


@pytest.mark.parametrize("status", [400, 403, 409])
def test_a_creation_that_is_refused_deletes_nothing(small: SmallServer, disk: Path, status: int) -> None:
    small.faults.refuse_create = status
    with pytest.raises(ApiError):
        send(small, open_source(str(disk)))
    assert count(small, "DELETE") == 0


def test_a_protected_image_that_cannot_be_taken_back_is_said_to_stay(small: SmallServer, disk: Path) -> None:
    small.faults.refuse_upload = 413
    source, report = open_source(str(disk)), KeptReport()

    async def connected() -> None:
        async with ImagesApi(small.url) as api:
            await push(api, source, {**WANT, "protected": True}, report)

    with pytest.raises(ApiError, match="refused"):
        asyncio.run(connected())
    source.close()
    (note,) = report.notes
    assert note.startswith(f"image {next(iter(small.images))} stays, the server does not let it be deleted")
    assert "takes a later version of drystone" in note


def test_an_id_that_is_taken_leaves_the_other_image_alone(small: SmallServer, disk: Path) -> None:
    taken = small.add("other")
    source = open_source(str(disk))

    async def connected() -> PushResult:
        async with ImagesApi(small.url) as api:
            return await push(api, source, {**WANT, "id": taken}, KeptReport())

    with pytest.raises(Conflict):
        asyncio.run(connected())
    source.close()
    assert small.images[taken]["name"] == "other"


def test_a_stream_with_more_than_was_announced_never_becomes_an_image(small: SmallServer) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"0123456789")
    os.close(write_end)
    with pytest.raises(SourceRefused, match="more bytes, not the 9 announced"):
        send(small, StreamSource(read_end, "a pipe", 9))
    assert small.images == {}
    assert small.data == {}
