"""PUT of an image's bytes: what is taken, what is refused before the body, and every way a body can break."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import BlockstoreError, Damaged, Missing, StoreFull, StoreUnavailable
from catalog.limits import Limits
from catalog.model.caller import Caller
from catalog.model.errors import CatalogError, CatalogFull, CatalogUnavailable
from catalog.usecases.services import Services
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.running_server import Answer, RunningServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence

    from catalog.ports import Source, StoredManifest, Written
    from chunker.cutting import Cutting

OCTETS = {"Content-Type": "application/octet-stream"}
UNKNOWN = "00000000-0000-0000-0000-000000000000"


def put(server: RunningServer, image_id: str, body: bytes | Iterable[bytes], **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.call("PUT", f"/v2/images/{image_id}/file", body, OCTETS | named)


def head_of(image_id: str, *lines: str) -> bytes:
    """A request's head, by hand."""
    rows = [
        f"PUT /v2/images/{image_id}/file HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/octet-stream",
        *lines,
        "",
        "",
    ]
    return "\r\n".join(rows).encode()


def is_queued_and_empty(server: RunningServer, image_id: str) -> bool:
    image = server.call("GET", f"/v2/images/{image_id}").json
    return (image["status"], image["size"], image["checksum"]) == ("queued", None, None)


def read_head(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            break
        received += piece
    return received


@pytest.mark.parametrize("size", [0, 1, 11, 65536, 300_001])
def test_bytes_arrive_with_a_length_or_in_chunks(server: RunningServer, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    for body, headers in (
        (data, {}),
        ([data[:5], data[5:]], {}),
        ([data], {"x_openstack_image_size": str(size)}),
        (data, {"x_openstack_image_size": str(size)}),
    ):
        image_id = server.new_image()
        answer = put(server, image_id, body, **headers)
        assert (answer.status, answer.body) == (204, b"")
        image = server.call("GET", f"/v2/images/{image_id}").json
        assert (image["status"], image["size"]) == ("active", size)
        assert image["checksum"] == hashlib.md5(data).hexdigest()
        assert (image["os_hash_algo"], image["os_hash_value"]) == ("sha512", hashlib.sha512(data).hexdigest())
        assert server.call("GET", f"/v2/images/{image_id}/file").body == data


def test_another_content_type_is_415_and_a_missing_one_too(server: RunningServer) -> None:
    image_id = server.new_image()
    path = f"/v2/images/{image_id}/file"
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json"}):
        answer = server.call("PUT", path, b"x", headers)
        assert (answer.status, answer.code) == (415, "unsupported-media-type")
    assert put(server, image_id, b"x", Content_Encoding="gzip").status == 415
    assert is_queued_and_empty(server, image_id)
    assert put(server, image_id, b"x", Content_Type="application/octet-stream; q=1").status == 204


def test_an_image_that_is_unknown_is_404_and_one_that_has_bytes_is_409(server: RunningServer) -> None:
    assert put(server, UNKNOWN, b"x").status == 404
    image_id = server.new_image()
    assert put(server, image_id, b"x").status == 204
    assert put(server, image_id, b"y").status == 409
    assert server.call("GET", f"/v2/images/{image_id}/file").body == b"x"


def test_an_image_without_formats_takes_no_bytes(server: RunningServer) -> None:
    image_id = server.call("POST", "/v2/images", json_body={}).json["id"]
    answer = put(server, image_id, b"x")
    assert answer.status == 400
    assert answer.json["message"] == "Properties disk_format, container_format must be set prior to saving data."


@pytest.mark.parametrize("text", ["-1", "ten", "", "1.5", "1e3", "9" * 40])
def test_an_image_size_that_is_no_number_is_400(server: RunningServer, text: str) -> None:
    image_id = server.new_image()
    assert put(server, image_id, b"x", x_openstack_image_size=text).status == 400
    assert is_queued_and_empty(server, image_id)


def test_a_body_shorter_or_longer_than_the_image_size_is_400_and_the_image_queued(server: RunningServer) -> None:
    image_id = server.new_image()
    for body, stated, got in (
        ([b"0123456789"], 11, 10),
        ([b"0123", b"456789ab"], 11, 12),
        (b"0123456789", 11, 10),
        (b"", 1, 0),
    ):
        answer = put(server, image_id, body, x_openstack_image_size=str(stated))
        assert (answer.status, answer.code) == (400, "size-mismatch")
        if got <= stated:
            assert answer.json["message"] == f"Size mismatch: expected {stated} bytes, got {got} bytes"
        assert is_queued_and_empty(server, image_id)
    assert put(server, image_id, b"0123456789").status == 204


def test_sizes_that_disagree_are_answered_before_the_body_comes(server: RunningServer) -> None:
    image_id = server.new_image()
    with server.connect() as connection:
        connection.sendall(
            head_of(image_id, "Content-Length: 10", "x-openstack-image-size: 11", "Expect: 100-continue")
        )
        answer = read_head(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert is_queued_and_empty(server, image_id)


def test_an_expecting_client_is_invited_only_when_its_body_is_wanted(server: RunningServer) -> None:
    image_id = server.new_image()
    with server.connect() as connection:
        connection.sendall(head_of(image_id, "Content-Length: 5", "Expect: 100-continue"))
        assert read_head(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"12345")
        assert read_head(connection).startswith(b"HTTP/1.1 204 ")
    for lines, status in (
        ((image_id, "Content-Length: 5"), 409),
        ((UNKNOWN, "Content-Length: 5"), 404),
        ((server.new_image(), "Transfer-Encoding: chunked", "Content-Encoding: gzip"), 415),
    ):
        with server.connect() as connection:
            connection.sendall(head_of(*lines, "Expect: 100-continue"))
            assert read_head(connection).startswith(f"HTTP/1.1 {status} ".encode())
    with server.connect() as connection:
        connection.sendall(
            b"PUT /no/such HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert read_head(connection).startswith(b"HTTP/1.1 404 ")


def test_another_expectation_is_417_in_the_shape_of_every_error(server: RunningServer) -> None:
    answer = server.answer_before_body(head_of(server.new_image(), "Content-Length: 5", "Expect: a-miracle"))
    assert answer.startswith(b"HTTP/1.1 417 ")
    for line in (b"x-openstack-request-id: req-", b"x-drystone-error: expectation-failed", b'"title": "Expectation'):
        assert line in answer
    foreign = b"PUT / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 5\r\nExpect: a-miracle\r\n\r\n"
    assert server.answer_before_body(foreign).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("codings", ["gzip, chunked", "GZIP,chunked", "identity , deflate, chunked"])
def test_a_transfer_coding_other_than_chunked_is_501_before_the_body(server: RunningServer, codings: str) -> None:
    image_id = server.new_image()
    answer = server.answer_before_body(head_of(image_id, f"Transfer-Encoding: {codings}", "Expect: 100-continue"))
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert b"x-drystone-error: unknown-transfer-coding" in answer
    assert is_queued_and_empty(server, image_id)
    chunked = head_of(image_id, "Transfer-Encoding: Chunked", "Connection: close") + b"5\r\nhello\r\n0\r\n\r\n"
    assert server.exchange(chunked, end=False).startswith(b"HTTP/1.1 204 ")


def test_an_early_answer_to_a_huge_body_comes_at_once_and_the_connection_closes(server: RunningServer) -> None:
    with server.connect() as connection:
        connection.sendall(head_of(UNKNOWN, f"Content-Length: {1 << 40}") + b"x" * 65536)
        answer = read_head(connection)
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"Connection: close" in answer
        while connection.recv(65536):
            pass


def test_a_client_that_goes_away_leaves_the_image_queued(server: RunningServer) -> None:
    for framing, sent in (("Content-Length: 1000", b"x" * 10), ("Transfer-Encoding: chunked", b"5\r\nhello\r\n")):
        image_id = server.new_image()
        connection = server.connect()
        connection.sendall(head_of(image_id, framing) + sent)
        await_status(server, image_id, "saving")
        connection.close()
        await_status(server, image_id, "queued")
        assert is_queued_and_empty(server, image_id)
        assert put(server, image_id, b"again").status == 204


def test_a_client_that_ends_its_body_too_early_is_told_so(server: RunningServer) -> None:
    for framing, sent in (
        ("Content-Length: 1000", b"x" * 10),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", b"ffff\r\nhel"),
    ):
        image_id = server.new_image()
        answer = server.exchange(head_of(image_id, framing) + sent)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"x-drystone-error: source-lost" in answer
        assert is_queued_and_empty(server, image_id)


def test_a_broken_chunk_is_400_at_once_also_when_the_client_stays(server: RunningServer) -> None:
    for sent in (b"zz\r\nhello\r\n", b"5\r\nhelloXX", b"5\r\nhello\r\n-1\r\n"):
        image_id = server.new_image()
        with server.connect() as connection:
            connection.sendall(head_of(image_id, "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
            await_status(server, image_id, "saving")
            connection.sendall(sent)
            assert read_head(connection).startswith(b"HTTP/1.1 400 ")
        assert is_queued_and_empty(server, image_id)


def test_a_whole_request_is_answered_after_the_client_has_ended_its_side(server: RunningServer) -> None:
    image_id = server.new_image()
    answer = server.exchange(head_of(image_id, "Content-Length: 5") + b"12345")
    assert answer.startswith(b"HTTP/1.1 204 ")
    answer = server.exchange(f"GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert answer.endswith(b"\r\n\r\n12345")


def test_a_body_that_stands_still_ends_the_upload(services: Services) -> None:
    with RunningServer(services, body_timeout=0.2) as server:
        image_id = server.new_image()
        with server.connect() as connection:
            connection.sendall(head_of(image_id, "Content-Length: 1000") + b"x")
            assert read_head(connection).startswith(b"HTTP/1.1 408 ")
        assert is_queued_and_empty(server, image_id)


def test_an_image_deleted_during_its_upload_is_410(server: RunningServer) -> None:
    image_id = server.new_image()
    with server.connect() as connection:
        connection.sendall(head_of(image_id, "Content-Length: 5") + b"123")
        await_status(server, image_id, "saving")
        assert server.call("DELETE", f"/v2/images/{image_id}").status == 204
        connection.sendall(b"45")
        assert read_head(connection).startswith(b"HTTP/1.1 410 ")
    assert server.call("GET", f"/v2/images/{image_id}").status == 404


def test_two_uploads_into_one_image_leave_one_winner(server: RunningServer) -> None:
    image_id = server.new_image()
    with server.connect() as connection:
        connection.sendall(head_of(image_id, "Content-Length: 5") + b"123")
        await_status(server, image_id, "saving")
        assert put(server, image_id, b"other").status == 409
        connection.sendall(b"45")
        assert read_head(connection).startswith(b"HTTP/1.1 204 ")
    assert server.call("GET", f"/v2/images/{image_id}/file").body == b"12345"


def test_bytes_beyond_the_cap_are_413_announced_or_not(services: Services) -> None:
    small = Services(database=services.database, blocks=services.blocks, limits=Limits(image_size_cap=10))
    with RunningServer(small) as server:
        image_id = server.new_image()
        for body in (b"01234567890", [b"012345", b"67890"]):
            answer = put(server, image_id, body)
            assert (answer.status, answer.code) == (413, "limit-exceeded")
            assert is_queued_and_empty(server, image_id)
        assert put(server, image_id, b"0123456789").status == 204


class FailingBlocks(MemoryBlocks):
    """Takes the first piece, then fails as it is told."""

    failure: Exception | None = None

    async def write(
        self,
        pin: str,
        source: Source,
        *,
        expected: int | None,
        cutting: Cutting,
        base: Sequence[StoredManifest] = (),
        hashes: Sequence[str] = (),
    ) -> Written:
        if self.failure is not None:
            await source.read_into(memoryview(bytearray(1)))
            raise self.failure
        return await super().write(pin, source, expected=expected, cutting=cutting, base=base, hashes=hashes)


def test_a_full_store_is_413_an_unwilling_one_503_and_afterwards_all_is_well(services: Services) -> None:
    blocks = FailingBlocks()
    with RunningServer(Services(database=services.database, blocks=blocks)) as server:
        image_id = server.new_image()
        for failure, status in (
            (StoreFull("no space"), 413),
            (StoreUnavailable("disk is sulking"), 503),
            (CatalogUnavailable("locked for too long"), 503),
        ):
            blocks.failure = failure
            answer = put(server, image_id, b"x" * 100_000)
            assert (answer.status, answer.json["message"]) == (status, str(failure))
            assert answer.code == failure.code
            assert answer.headers["Retry-After"] == ("5" if status == 503 else None)
            assert is_queued_and_empty(server, image_id)
        blocks.failure = None
        assert put(server, image_id, b"x").status == 204


def test_a_defect_of_ours_is_500_with_the_request_id_and_without_its_insides(services: Services) -> None:
    blocks = FailingBlocks()
    blocks.failure = RuntimeError("secret insides")
    with RunningServer(Services(database=services.database, blocks=blocks)) as server:
        answer = put(server, server.new_image(), b"x")
        assert (answer.status, answer.code) == (500, "internal-error")
        assert answer.headers["x-openstack-request-id"].startswith("req-")
        assert b"secret" not in answer.body
        page = server.call("PUT", f"/v2/images/{server.new_image()}/file", b"x", OCTETS | {"Accept": "text/html"})
        assert (page.status, page.headers["Content-Type"]) == (500, "text/html; charset=utf-8")
        assert b"secret" not in page.body


@pytest.mark.parametrize("roles", [{"member", "reader"}, {"admin", "member", "reader"}])
def test_what_fails_inside_is_told_whole_to_an_administrator_alone(
    services: Services, roles: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    blocks = FailingBlocks()
    caller = Caller("ann", "default", frozenset(roles))
    with RunningServer(Services(database=services.database, blocks=blocks), caller=caller) as server:
        for failure in (
            StoreFull("/srv/data/packs is full"),
            StoreUnavailable("/srv/data/packs: sulking"),
            Damaged("/srv/data/packs/ab/x.zst is damaged"),
            Missing("/srv/data/packs/ab/x.zst is gone"),
            CatalogUnavailable("/srv/data/catalog.sqlite is damaged"),
            CatalogFull("/srv/data is full"),
            CatalogError("/srv/data is odd"),
            BlockstoreError("/srv/data is odd"),
        ):
            blocks.failure = failure
            answer = put(server, server.new_image(), b"x")
            assert answer.code == failure.code
            assert (str(failure) == answer.json["message"]) is caller.is_admin
            assert caller.is_admin or "/srv" not in answer.body.decode()
            assert str(failure) in caplog.text


def await_status(server: RunningServer, image_id: str, status: str) -> None:
    """Until the image is in that status; the test's own time limit ends it otherwise."""
    while server.status_of(image_id) != status:
        pass
