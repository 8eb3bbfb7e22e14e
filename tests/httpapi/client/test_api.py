from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, TypeVar

import pytest

from httpapi.client.api import ImagesApi
from httpapi.client.errors import (
    ApiError,
    Conflict,
    EndpointRefused,
    Interrupted,
    NoData,
    NotAnImageService,
    NotFound,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from httpapi.wire.images import ImageRecord
    from tests.kit.small_server import SmallServer

T = TypeVar("T")


def ask(endpoint: str, step: Callable[[ImagesApi], Awaitable[T]], *, stall_seconds: float = 20) -> T:
    async def connected() -> T:
        async with ImagesApi(endpoint, stall_seconds=stall_seconds) as api:
            return await step(api)

    return asyncio.run(connected())


async def names(api: ImagesApi) -> list[str | None]:
    return [image.name async for image in api.list_images()]


async def whole(api: ImagesApi, image_id: str, start: int = 0) -> bytes:
    async with api.download(image_id, start=start) as data:
        return b"".join([piece async for piece in data.pieces()])


async def one_piece(piece: bytes) -> AsyncIterator[memoryview]:
    yield memoryview(piece)


@pytest.mark.parametrize("suffix", ["", "/", "/v2", "/v2/", "/v2.7"])
def test_the_endpoint_may_name_the_version_or_not(small: SmallServer, suffix: str) -> None:
    small.add("disk")
    assert ask(small.url + suffix, names) == ["disk"]


def test_nobody_listening_is_said_with_the_way_to_start_a_server() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unreachable, match="is the server running\\? start it with `drystone serve`"):
        ask(f"http://127.0.0.1:{port}", names)


@pytest.mark.parametrize(
    "endpoint", ["no address", "http://", "127.0.0.1:9292", "ftp://127.0.0.1", "http://h?x", "http://h:99999"]
)
def test_a_malformed_endpoint_is_named(endpoint: str) -> None:
    with pytest.raises(EndpointRefused, match="takes the form http://HOST:PORT"):
        ask(endpoint, names)


def test_a_password_in_the_endpoint_is_not_shown() -> None:
    with pytest.raises(Unreachable) as failure:
        ask("http://user:secret@127.0.0.1:1/v2", names)
    assert "secret" not in str(failure.value)
    assert "http://127.0.0.1:1/v2" in str(failure.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"versions":[1]}',
        b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_something_else_at_the_endpoint_is_told_from_an_image_service(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        with pytest.raises(NotAnImageService, match="check --endpoint"):
            ask(f"http://127.0.0.1:{listener.getsockname()[1]}", names)
        thread.join()


def test_a_list_goes_on_through_all_its_pages(small: SmallServer) -> None:
    small.faults.page = 2
    for number in range(5):
        small.add(f"disk-{number}", tags=["a", "b"])

    async def tagged(api: ImagesApi) -> list[str | None]:
        return [image.name async for image in api.list_images([("tag", "a"), ("tag", "b")])]

    assert ask(small.url, tagged) == ["disk-4", "disk-3", "disk-2", "disk-1", "disk-0"]


def test_a_list_is_asked_for_in_pages_that_stay_small_however_large_its_records_are(small: SmallServer) -> None:
    for number in range(130):
        small.add(f"disk-{number}", data=None, note="x" * 1000)
    assert len(ask(small.url, names)) == 130
    assert [path for _, path, _ in small.asked if "limit=100" in path] == [path for _, path, _ in small.asked[1:]]


def test_more_text_than_is_sensible_is_refused_with_what_to_do(
    small: SmallServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("httpapi.client.answers.LARGEST_JSON", 1 << 20)
    for _ in range(3):
        small.add(note="x" * 500_000)
    with pytest.raises(NotAnImageService, match="more than 1 MiB of text: name the image by its full id, narrow"):
        ask(small.url, names)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("id", "../"),
        ("id", "abcdef01-2345-4678-9abc-def012345678/.."),
        ("id", 7),
        ("name", {"a": 1}),
        ("disk_format", ["raw"]),
        ("checksum", 5),
        ("status", None),
        ("size", -1),
        ("size", True),
        ("size", 2**63),
        ("size", "10"),
    ],
)
def test_a_record_with_something_else_where_the_client_relies_on_it_is_refused(
    small: SmallServer, attribute: str, value: object
) -> None:
    small.add("good")
    small.images[small.add("bad")][attribute] = value
    with pytest.raises(NotAnImageService, match="the answer is no image record"):
        ask(small.url, names)


def test_an_image_is_created_with_its_properties_and_read_back(small: SmallServer) -> None:
    async def create(api: ImagesApi) -> ImageRecord:
        made = await api.create_image({"name": "disk", "trait:X": "required", "empty": ""})
        return await api.get_image(made.id)

    image = ask(small.url, create)
    assert (image.name, image.status, image.size) == ("disk", "queued", None)
    assert image.properties == {"trait:X": "required", "empty": ""}


def test_errors_carry_status_message_and_request_id(small: SmallServer) -> None:
    image_id = small.add(protected=True)
    with pytest.raises(ApiError, match="is protected") as refused:
        ask(small.url, lambda api: api.delete_image(image_id))
    assert (refused.value.status, refused.value.request_id) == (403, "req-7")
    with pytest.raises(NotFound):
        ask(small.url, lambda api: api.get_image("00000000-0000-0000-0000-000000000000"))
    with pytest.raises(Conflict):
        ask(small.url, lambda api: api.create_image({"id": image_id}))


@pytest.mark.parametrize("size", [None, 10])
def test_an_upload_arrives_whether_or_not_its_size_is_known(small: SmallServer, size: int | None) -> None:
    image_id = small.add(data=None)
    ask(small.url, lambda api: api.upload(image_id, one_piece(b"0123456789"), size))
    assert small.data[image_id] == b"0123456789"
    headers = small.asked[-1][2]
    assert headers.get("Content-Length") == (str(size) if size else None)


def test_an_empty_upload_arrives(small: SmallServer) -> None:
    image_id = small.add(data=None)
    ask(small.url, lambda api: api.upload(image_id, one_piece(b""), 0))
    assert small.data[image_id] == b""


def test_a_refused_upload_sends_no_byte(small: SmallServer) -> None:
    image_id = small.add(data=None)
    small.faults.refuse_upload = 413
    begun = False

    async def source() -> AsyncIterator[memoryview]:
        nonlocal begun
        begun = True
        yield memoryview(bytes(10))

    with pytest.raises(ApiError, match="refused") as refused:
        ask(small.url, lambda api: api.upload(image_id, source(), 10))
    assert refused.value.status == 413
    assert not begun


def test_a_source_that_fails_breaks_the_upload_off_with_its_own_error(small: SmallServer) -> None:
    image_id = small.add(data=None)

    async def source() -> AsyncIterator[memoryview]:
        yield memoryview(b"01234")
        message = "the disk is on fire"
        raise OSError(message)

    with pytest.raises(OSError, match="the disk is on fire"):
        ask(small.url, lambda api: api.upload(image_id, source(), 10))
    assert image_id not in small.data


def test_a_server_that_takes_no_data_is_noticed(small: SmallServer) -> None:
    image_id = small.add(data=None)
    small.faults.stall_upload = True

    async def source() -> AsyncIterator[memoryview]:
        while True:
            yield memoryview(bytes(1 << 20))

    with pytest.raises(Interrupted, match="stalls"):
        ask(small.url, lambda api: api.upload(image_id, source(), None), stall_seconds=0.3)


def test_a_slow_source_is_no_stall(small: SmallServer) -> None:
    image_id = small.add(data=None)

    async def source() -> AsyncIterator[memoryview]:
        for _ in range(2):
            await asyncio.sleep(0.9)
            yield memoryview(b"slow ")

    ask(small.url, lambda api: api.upload(image_id, source(), None), stall_seconds=0.6)
    assert small.data[image_id] == b"slow slow "


def test_a_download_begins_where_it_is_told(small: SmallServer) -> None:
    image_id = small.add(data=b"0123456789")
    assert ask(small.url, lambda api: whole(api, image_id)) == b"0123456789"
    assert ask(small.url, lambda api: whole(api, image_id, 7)) == b"789"


def test_a_download_of_an_image_without_data_says_so(small: SmallServer) -> None:
    image_id = small.add(data=None)
    with pytest.raises(NoData, match="has no data yet"):
        ask(small.url, lambda api: whole(api, image_id))


def test_a_download_that_is_cut_or_stalls_is_told_from_one_that_ends(small: SmallServer) -> None:
    image_id = small.add(data=bytes(1000))
    small.faults.cut_downloads, small.faults.cut_after = 1, 500
    with pytest.raises(Interrupted):
        ask(small.url, lambda api: whole(api, image_id))
    small.faults.stall_downloads = True
    with pytest.raises(Interrupted, match="stalls"):
        ask(small.url, lambda api: whole(api, image_id), stall_seconds=0.3)
