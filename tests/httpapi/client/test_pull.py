from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from httpapi.client.api import ImagesApi
from httpapi.client.errors import ApiError, Interrupted, Mismatch, NoData, NotFound, TargetRefused
from httpapi.client.pull import PullResult, pull
from httpapi.client.target import PIECE, StreamTarget, open_target
from tests.kit.kept_report import KeptReport

if TYPE_CHECKING:
    from pathlib import Path

    from httpapi.client.target import Target
    from tests.kit.small_server import SmallServer

AT_ONCE = (0.0,) * 5


def names_in(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def fetch(small: SmallServer, image_id: str, target: Target, report: KeptReport | None = None) -> PullResult:
    async def connected() -> PullResult:
        async with ImagesApi(small.url, stall_seconds=20) as api:
            return await pull(api, image_id, target, report or KeptReport(), waits=AT_ONCE)

    return asyncio.run(connected())


@pytest.fixture
def data() -> bytes:
    """More pieces than there are buffers, holes among them, and an odd tail."""
    return os.urandom(2 * PIECE) + bytes(6 * PIECE) + os.urandom(PIECE + 777)


def test_a_file_comes_byte_for_byte_and_sparse(small: SmallServer, tmp_path: Path, data: bytes) -> None:
    report = KeptReport()
    result = fetch(small, small.add(data=data), open_target(str(tmp_path / "disk")), report)
    assert (tmp_path / "disk").read_bytes() == data
    assert (tmp_path / "disk").stat().st_blocks * 512 <= 4 * PIECE
    assert names_in(tmp_path) == ["disk"]
    assert (result.size, result.verified, report.done, report.notes) == (len(data), True, len(data), [])


@pytest.mark.parametrize("content", [b"", bytes(3 * PIECE + 5), b"x"])
def test_odd_images_come_whole(small: SmallServer, tmp_path: Path, content: bytes) -> None:
    fetch(small, small.add(data=content), open_target(str(tmp_path / "disk")))
    assert (tmp_path / "disk").read_bytes() == content


@pytest.mark.parametrize("cut_after", [0, 1, 100_000, PIECE, 2 * PIECE + 3])
def test_a_connection_that_drops_is_continued_where_it_broke(
    small: SmallServer, tmp_path: Path, data: bytes, cut_after: int
) -> None:
    small.faults.cut_downloads, small.faults.cut_after = 3, cut_after
    image_id, report = small.add(data=data), KeptReport()
    fetch(small, image_id, open_target(str(tmp_path / "disk")), report)
    assert (tmp_path / "disk").read_bytes() == data
    assert len(report.notes) == 3
    asked = [headers for method, path, headers in small.asked if path.endswith("/file")]
    if cut_after:
        assert asked[-1]["Range"] == f"bytes={3 * cut_after}-"
        assert asked[-1]["If-Range"] == f'"{image_id}"'


def test_a_server_without_ranges_is_continued_too(small: SmallServer, tmp_path: Path, data: bytes) -> None:
    small.faults.cut_downloads, small.faults.cut_after, small.faults.no_ranges = 1, 100_000, True
    fetch(small, small.add(data=data), open_target(str(tmp_path / "disk")))
    assert (tmp_path / "disk").read_bytes() == data


def test_damage_is_told_at_once(small: SmallServer, tmp_path: Path, data: bytes) -> None:
    small.faults.unavailable, small.faults.code = 3, "damaged"
    image_id, report = small.add(data=data), KeptReport()
    with pytest.raises(ApiError, match="503"):
        fetch(small, image_id, open_target(str(tmp_path / "disk")), report)
    assert len([path for _, path, _ in small.asked if path.endswith("/file")]) == 1
    assert not any("continuing" in note for note in report.notes)


def test_a_busy_server_is_tried_again(small: SmallServer, tmp_path: Path, data: bytes) -> None:
    small.faults.unavailable = 2
    fetch(small, small.add(data=data), open_target(str(tmp_path / "disk")))
    assert (tmp_path / "disk").read_bytes() == data


def test_after_five_tries_without_a_byte_it_gives_up_and_leaves_no_file(small: SmallServer, tmp_path: Path) -> None:
    small.faults.cut_downloads, small.faults.cut_after = 100, 0
    with pytest.raises(Interrupted):
        fetch(small, small.add(data=b"0123456789"), open_target(str(tmp_path / "disk")))
    assert sum(path.endswith("/file") for _, path, _ in small.asked) == 5
    assert names_in(tmp_path) == []


def test_an_image_deleted_meanwhile_is_not_tried_again(small: SmallServer, tmp_path: Path, data: bytes) -> None:
    image_id = small.add(data=data)
    small.faults.cut_downloads, small.faults.cut_after = 1, PIECE

    class Deleting(KeptReport):
        def note(self, sentence: str) -> None:
            small.images.pop(image_id, None)
            super().note(sentence)

    with pytest.raises(NotFound):
        fetch(small, image_id, open_target(str(tmp_path / "disk")), Deleting())
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("algorithm", ["sha512", "sha256", None])
def test_wrong_bytes_are_refused_and_no_file_is_left(
    small: SmallServer, tmp_path: Path, data: bytes, algorithm: str | None
) -> None:
    small.faults.hash_algorithm, small.faults.wrong_bytes = algorithm, True
    report = KeptReport()
    with pytest.raises(Mismatch, match="are not those of image"):
        fetch(small, small.add(data=data), open_target(str(tmp_path / "disk")), report)
    assert names_in(tmp_path) == []
    assert report.notes == [f"the incomplete {tmp_path / 'disk'} is removed"]


def test_an_image_without_a_hash_comes_with_a_note(small: SmallServer, tmp_path: Path, data: bytes) -> None:
    small.faults.hash_algorithm, small.faults.no_checksum = None, True
    report = KeptReport()
    assert not fetch(small, small.add(data=data), open_target(str(tmp_path / "disk")), report).verified
    assert (tmp_path / "disk").read_bytes() == data
    assert "not verified" in report.notes[0]


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_record_with_another_size_than_the_data_is_refused(
    small: SmallServer, tmp_path: Path, data: bytes, difference: int
) -> None:
    image_id = small.add(data=data)
    small.images[image_id]["size"] += difference
    with pytest.raises(Mismatch):
        fetch(small, image_id, open_target(str(tmp_path / "disk")))
    assert names_in(tmp_path) == []


def test_an_image_without_data_leaves_no_file(small: SmallServer, tmp_path: Path) -> None:
    with pytest.raises(NoData, match="it is queued"):
        fetch(small, small.add(data=None), open_target(str(tmp_path / "disk")))
    with pytest.raises(ApiError):
        fetch(small, "00000000-0000-0000-0000-000000000000", open_target(str(tmp_path / "disk")))
    assert names_in(tmp_path) == []


def test_a_full_disk_is_named_and_leaves_nothing(small: SmallServer) -> None:
    with pytest.raises(TargetRefused, match="cannot write /dev/full: No space left"):
        fetch(small, small.add(data=bytes(PIECE * 9)), StreamTarget(os.open("/dev/full", os.O_WRONLY), "/dev/full"))


def test_a_stream_gets_every_byte_in_order(small: SmallServer, data: bytes) -> None:
    read_end, write_end = os.pipe()

    async def both() -> bytes:
        reading = asyncio.create_task(asyncio.to_thread(read))
        async with ImagesApi(small.url) as api:
            await pull(api, image_id, StreamTarget(write_end, "a pipe"), KeptReport())
        os.close(write_end)
        return await reading

    def read() -> bytes:
        with os.fdopen(read_end, "rb") as pipe:
            return pipe.read()

    image_id = small.add(data=data)
    assert asyncio.run(both()) == data


def test_a_reader_that_goes_away_ends_the_transfer(small: SmallServer, data: bytes) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with pytest.raises(BrokenPipeError):
        fetch(small, small.add(data=data), StreamTarget(write_end, "a pipe"))
    os.close(write_end)
