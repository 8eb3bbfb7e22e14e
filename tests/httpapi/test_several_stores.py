"""Images in several stores, as clients see them: where uploads go, where reads come from."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.model.caller import Caller
from catalog.usecases import images
from httpapi.client.api import ImagesApi
from httpapi.client.delta_api import DeltaApi
from tests.kit.memory_store import MemoryStore
from tests.kit.running_server import ADMIN, RunningServer
from tests.kit.several_stores import copied, with_stores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.model.image import Image
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


def shown(services: Services) -> Services:
    return replace(services, show_locations=True, show_direct_url=True)


def test_images_tell_their_stores_in_the_order_of_reading(server: RunningServer, fast: MemoryStore) -> None:
    image_id = in_both(server, fast)
    queued = server.new_image()
    for told in (server.call("GET", f"/v2/images/{image_id}").json, listed(server)[image_id]):
        assert told["stores"] == "fast,blocks"
        assert not {"locations", "direct_url"} & told.keys()
    assert "stores" not in server.call("GET", f"/v2/images/{queued}").json
    assert "stores" not in listed(server)[queued]


def test_locations_are_told_by_setting(services: Services, fast: MemoryStore) -> None:
    with RunningServer(shown(with_stores(services, fast))) as server:
        image_id = in_both(server, fast)
        [url] = fast.copies
        manifest = server.run(find(server, image_id)).locations[0].url
        told = server.call("GET", f"/v2/images/{image_id}").json
        assert told == listed(server)[image_id]
        assert told["locations"] == [
            {"url": url, "metadata": {"store": "fast"}},
            {"url": manifest, "metadata": {"store": "blocks"}},
        ]
        assert told["direct_url"] == url
        assert server.call("GET", f"/v2/images/{image_id}/locations").json == told["locations"]
        queued = server.call("GET", f"/v2/images/{server.new_image()}").json
        assert (queued["locations"], "direct_url" in queued) == ([], False)


def test_others_are_not_told_where_an_image_lies_and_its_owner_not_the_name_of_a_manifest(
    services: Services, fast: MemoryStore
) -> None:
    there = shown(with_stores(services, fast))
    owner, other = (Caller("ann", each, frozenset({"member"})) for each in ("wall", "hedge"))
    with RunningServer(there, caller=owner) as server:
        image_id = server.new_image(visibility="community")
        assert server.call("PUT", f"/v2/images/{image_id}/file", DATA, OCTETS).status == 204
        told = server.call("GET", f"/v2/images/{image_id}").json
        assert told["locations"] == [{"url": f"blocks://{image_id}", "metadata": {"store": "blocks"}}]
        assert "direct_url" not in told
        refused = server.call("GET", f"/v2/images/{image_id}/locations")
        assert (refused.status, refused.code) == (403, "forbidden")
    with RunningServer(there, caller=other) as server:
        told = server.call("GET", f"/v2/images/{image_id}").json
        assert told["stores"] == "blocks"
        assert "locations" not in told


def test_a_lost_copy_is_not_told(services: Services, fast: MemoryStore) -> None:
    with RunningServer(shown(with_stores(services, fast))) as server:
        image_id = in_both(server, fast)
        fast.lose()
        assert server.call("GET", f"/v2/images/{image_id}/file").body == DATA
        told = server.call("GET", f"/v2/images/{image_id}").json
        assert (told["stores"], len(told["locations"]), "direct_url" in told) == ("blocks", 1, False)


def test_an_image_is_taken_out_of_a_store_but_for_the_last(server: RunningServer, fast: MemoryStore) -> None:
    image_id = in_both(server, fast)
    for store, status, code in (("slow", 409, "conflict"), ("web", 404, "not-found")):
        answer = server.call("DELETE", f"/v2/stores/{store}/{image_id}")
        assert (answer.status, answer.code) == (status, code)
    assert server.call("DELETE", f"/v2/stores/blocks/{image_id}").status == 204
    assert server.call("GET", f"/v2/images/{image_id}").json["stores"] == "fast"
    assert server.call("GET", f"/v2/images/{image_id}/file").body == DATA
    last = server.call("DELETE", f"/v2/stores/fast/{image_id}")
    assert (last.status, last.code) == (403, "forbidden")
    assert server.call("DELETE", f"/v2/stores/blocks/{image_id}").status == 404
    queued = server.new_image()
    assert server.call("DELETE", f"/v2/stores/fast/{queued}").status == 409
    assert server.call("DELETE", f"/v2/stores/fast/{'0' * 8}-0000-4000-8000-{'0' * 12}").status == 404


def test_the_last_place_that_is_not_lost_stays(server: RunningServer, fast: MemoryStore) -> None:
    image_id = in_both(server, fast)
    fast.lose()
    server.call("GET", f"/v2/images/{image_id}/file")
    answer = server.call("DELETE", f"/v2/stores/blocks/{image_id}")
    assert (answer.status, "lost" in answer.json["message"]) == (403, True)
    assert server.call("DELETE", f"/v2/stores/fast/{image_id}").status == 204
    assert server.call("GET", f"/v2/images/{image_id}/file").body == DATA


def test_without_stores_nothing_can_be_taken_out_of_one(services: Services) -> None:
    with RunningServer(services) as server:
        image_id, _ = upload(server)
        assert server.call("DELETE", f"/v2/stores/blocks/{image_id}").status == 404
        assert not {"stores", "locations", "direct_url"} & server.call("GET", f"/v2/images/{image_id}").json.keys()


async def find(server: RunningServer, image_id: str) -> Image:
    return await images.show(server.services, ADMIN, image_id)


def listed(server: RunningServer) -> dict[str, dict[str, object]]:
    return {each["id"]: each for each in server.call("GET", "/v2/images").json["images"]}


PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
DRAFT = {"Content-Type": "application/openstack-images-v2.0-json-patch"}


@pytest.mark.parametrize(
    ("headers", "op"), [(PATCH, {"op": "add", "path": "/locations/-"}), (DRAFT, {"add": "/locations/-"})]
)
def test_a_patch_makes_an_image_of_what_lies_somewhere(
    services: Services, headers: dict[str, str], op: dict[str, str]
) -> None:
    web = MemoryStore("web", read_only=True)
    web.copies["memory://web/theirs"] = DATA
    with RunningServer(shown(with_stores(services, web))) as server:
        path = f"/v2/images/{server.new_image()}"
        value = {"url": "memory://web/theirs", "metadata": {"shelf": "1"}}
        answer = server.call("PATCH", path, headers=headers, json_body=[{**op, "value": value}])
        assert (answer.status, answer.json["status"], answer.json["size"]) == (200, "active", len(DATA))
        assert answer.json["locations"] == [{"url": value["url"], "metadata": {"shelf": "1", "store": "web"}}]
        assert server.call("GET", f"{path}/file").body == DATA
        again = server.call("PATCH", path, headers=headers, json_body=[{**op, "value": value}])
        assert (again.status, again.code) == (400, "invalid")
    with RunningServer(with_stores(services, web)) as server:
        path = f"/v2/images/{server.new_image()}"
        hidden = server.call("PATCH", path, headers=headers, json_body=[{**op, "value": value}])
        assert (hidden.status, hidden.code) == (403, "reserved-attribute")


def test_where_stores_are_configured_the_versions_tell_what_they_brought(server: RunningServer) -> None:
    told = {each["id"] for each in server.call("GET", "/versions").json["versions"]}
    assert told >= {"v2.8", "v2.10", "v2.11", "v2.15"}


def test_a_post_of_a_location_is_answered_with_202_and_a_task(services: Services) -> None:
    web = MemoryStore("web", read_only=True, kind="http")
    web.copies["memory://web/theirs"] = DATA
    with RunningServer(with_stores(services, web)) as server:
        path = f"/v2/images/{server.new_image()}"
        for bad in ({}, {"url": "memory://web/theirs", "more": 1}, {"url": "memory://web/nothing"}):
            assert server.call("POST", f"{path}/locations", json_body=bad).status == 400
        answer = server.call("POST", f"{path}/locations", json_body={"url": "memory://web/theirs"})
        assert (answer.status, answer.body) == (202, b"")
        assert server.call("GET", path).json["status"] == "importing"
        [task] = server.call("GET", f"{path}/tasks").json["tasks"]
        assert (task["type"], task["input"]["loc_url"]) == ("location_import", "memory://web/theirs")
        again = server.call("POST", f"{path}/locations", json_body={"url": "memory://web/theirs"})
        assert (again.status, again.code) == (409, "conflict")


def test_a_client_takes_an_image_without_blocks_for_one_without_delta_sync(
    server: RunningServer, tmp_path: Path
) -> None:
    image_id, _ = upload(server, "fast")

    async def ask() -> object:
        with tempfile.TemporaryFile(dir=tmp_path) as file:
            async with ImagesApi(f"http://127.0.0.1:{server.port}", stall_seconds=20) as api:
                return await DeltaApi(api).manifest(image_id, file.fileno())

    assert asyncio.run(ask()) is None
