"""How an image is cut, as a client sees it: a property like others, but read by the service."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from blockstore.manifest_format import HEADER_SIZE, decode_header
from blockstore.store import BlockStore
from catalog.cutting import PROPERTY
from catalog.stores.blocks import StoredBlocks
from catalog.usecases.services import Services
from httpapi.wire.images import CUTTING
from tests.kit.image_service import SMALL
from tests.kit.new_catalog import new_catalog
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = random.Random(8).randbytes(400_000) + bytes(300_000) + random.Random(9).randbytes(1_300_000)


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[RunningServer]:
    """A server on a real block store, in the test's directory."""
    store = BlockStore.open(tmp_path, SMALL)
    database = new_catalog(tmp_path / "catalog.sqlite")
    try:
        with RunningServer(Services(database=database, blocks=StoredBlocks(store), block_size=8192)) as running:
            yield running
    finally:
        database.close()
        store.close()


def test_both_ends_call_the_property_the_same() -> None:
    assert CUTTING == PROPERTY


def test_a_wish_that_can_not_be_fulfilled_is_400_with_what_can(server: RunningServer) -> None:
    answer = server.call("POST", "/v2/images", json_body={"name": "x", PROPERTY: "rolling"})
    assert (answer.status, answer.code) == (400, "invalid")
    assert answer.json["message"] == (
        "Invalid drystone_cutting 'rolling'; it is fixed, content-defined, or either with a power of two as its size: "
        "fixed:4KiB to fixed:4MiB, content-defined:16KiB to content-defined:1MiB."
    )


def test_the_property_is_shown_and_listed_like_any_other(server: RunningServer) -> None:
    image_id = server.new_image(**{PROPERTY: "fixed:128KiB"})
    assert server.call("GET", f"/v2/images/{image_id}").json[PROPERTY] == "fixed:128KiB"
    (listed,) = server.call("GET", f"/v2/images?{PROPERTY}=fixed:128KiB").json["images"]
    assert listed["id"] == image_id


@pytest.mark.parametrize(
    ("attributes", "cutting"),
    [
        ({}, "fixed:8KiB"),
        ({"disk_format": "qcow2"}, "fixed:8KiB"),
        ({"disk_format": "iso"}, "content-defined:64KiB"),
        ({"container_format": "ova"}, "content-defined:64KiB"),
        ({"disk_format": "iso", PROPERTY: "fixed"}, "fixed:8KiB"),
        ({PROPERTY: "fixed:32KiB"}, "fixed:32KiB"),
        ({PROPERTY: "content-defined:16KiB"}, "content-defined:16KiB"),
    ],
)
def test_an_image_is_cut_as_its_formats_or_its_property_say_and_any_range_comes_back(
    stored: RunningServer, tmp_path: Path, attributes: dict[str, str], cutting: str
) -> None:
    image_id = stored.new_image(**attributes)
    path = f"/v2/images/{image_id}/file"
    assert stored.call("PUT", path, DATA, {"Content-Type": "application/octet-stream"}).status == 204
    (manifest,) = (tmp_path / "manifests").rglob("*.manifest")
    header = decode_header(manifest.read_bytes()[:HEADER_SIZE], "it")
    assert str(header.cutting) == cutting
    assert stored.call("GET", path).body == DATA
    for start, last in ((0, 0), (399_999, 400_001), (123_456, 1_765_432), (len(DATA) - 1, len(DATA) - 1)):
        part = stored.call("GET", path, None, {"Range": f"bytes={start}-{last}"})
        assert (part.status, part.body) == (206, DATA[start : last + 1])
