"""Images in several stores, as clients see them: where uploads go, where reads come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit.memory_store import MemoryStore
from tests.kit.running_server import RunningServer
from tests.kit.several_stores import copied, with_stores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.usecases.services import Services
    from tests.kit.running_server import Answer

DATA = bytes(range(256)) * 3000
OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def fast() -> MemoryStore:
    return MemoryStore("fast", weight=10)


@pytest.fixture
def server(services: Services, fast: MemoryStore) -> Iterator[RunningServer]:
    web = MemoryStore("web", read_only=True)
    with RunningServer(with_stores(services, fast, web)) as running:
        yield running


def upload(server: RunningServer, store: str | None = None) -> tuple[str, Answer]:
    image_id = server.new_image()
    headers = OCTETS if store is None else OCTETS | {"x-image-meta-store": store}
    return image_id, server.call("PUT", f"/v2/images/{image_id}/file", DATA, headers)


def in_both(server: RunningServer, fast: MemoryStore) -> str:
    image_id, _ = upload(server)
    server.run(copied(server.services, image_id, fast))
    return image_id


def test_an_upload_lies_in_the_store_that_it_names(server: RunningServer, fast: MemoryStore) -> None:
    image_id, answer = upload(server, "fast")
    assert answer.status == 204
    assert list(fast.copies.values()) == [DATA]
    read = server.call("GET", f"/v2/images/{image_id}/file", headers={"Accept": "application/zstd"})
    assert (read.status, read.headers["Content-Type"], read.body) == (200, "application/octet-stream", DATA)
    assert read.headers["ETag"] == f'"{image_id}"'
    assert server.call("GET", f"/v2/images/{image_id}/manifest").code == "no-blocks"


@pytest.mark.parametrize(("store", "status", "code"), [("slow", 400, "invalid"), ("web", 403, "store-read-only")])
def test_an_upload_into_no_store_is_refused_and_the_image_stays_queued(
    server: RunningServer, store: str, status: int, code: str
) -> None:
    image_id, answer = upload(server, store)
    assert (answer.status, answer.code) == (status, code)
    assert server.call("GET", f"/v2/images/{image_id}").json["status"] == "queued"


def test_a_store_that_is_down_or_full_fails_the_upload(server: RunningServer, fast: MemoryStore) -> None:
    fast.full = True
    image_id, answer = upload(server, "fast")
    assert (answer.status, answer.code) == (413, "copy-store-full")
    fast.down = True
    _, answer = upload(server, "fast")
    assert (answer.status, answer.code) == (503, "store-down")
    assert server.call("GET", f"/v2/images/{image_id}").json["status"] == "queued"


def test_reads_go_where_they_are_asked_to_and_on_from_elsewhere(server: RunningServer, fast: MemoryStore) -> None:
    path = f"/v2/images/{in_both(server, fast)}/file"
    opened = fast.opened
    stored = {"Accept": "application/zstd"}
    assert server.call("GET", f"{path}?prefer=blocks", headers=stored).headers["Content-Type"] == "application/zstd"
    assert server.call("GET", f"{path}?prefer=web,blocks").body == DATA
    assert fast.opened == opened
    fast.breaks_at = 100_000
    part = server.call("GET", path, headers={"Range": "bytes=99999-700000"})
    assert (part.status, part.body, fast.opened) == (206, DATA[99999:700001], opened + 1)
    assert server.call("HEAD", f"{path}?prefer=fast").status == 200
    refused = server.call("GET", f"{path}?prefer=slow")
    assert (refused.status, refused.code) == (400, "invalid")


def test_when_all_places_are_down_it_is_a_503(server: RunningServer, fast: MemoryStore) -> None:
    image_id, _ = upload(server, "fast")
    fast.down = True
    answer = server.call("GET", f"/v2/images/{image_id}/file")
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "store-down", "5")
    fast.down = False
    fast.lose()
    answer = server.call("GET", f"/v2/images/{image_id}/file")
    assert (answer.status, answer.code) == (503, "copy-lost")
    assert server.call("GET", f"/v2/images/{image_id}").json["status"] == "active"


def test_where_no_stores_are_configured_none_can_be_named(services: Services) -> None:
    with RunningServer(services) as server:
        image_id, answer = upload(server, "fast")
        assert (answer.status, answer.code) == (400, "invalid")
        assert upload(server, "blocks")[1].status == 204
        assert server.call("GET", f"/v2/images/{image_id}/file?prefer=blocks").code == "invalid"
