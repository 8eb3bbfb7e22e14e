"""What clients are told of stores: nothing where none are configured, names for all, the rest for operators."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.model.caller import Caller
from catalog.store_ports import StoreInfo
from catalog.stores.file import FileStore
from catalog.stores.file_place import FilePlace
from catalog.stores.opaque import OpaqueStore
from catalog.stores.set import OUR_BLOCKS, StoreSet
from httpapi.cli.root import run
from httpapi.wire.stores import StoreRecord, parse_stores, stores_document
from tests.kit.memory_store import MemoryStore
from tests.kit.running_server import RunningServer
from tests.kit.several_stores import copied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.usecases.services import Services

READER = Caller("rea", "lab", frozenset({"reader"}))
MEMBER = Caller("ann", "lab", frozenset({"member"}))
SERVICE = Caller("nova", "service", frozenset({"service"}))
BEHALF = Caller("ann", "lab", frozenset({"member"}), service_roles=frozenset({"service"}))
ADMIN = Caller("root", "lab", frozenset({"admin"}))


@pytest.fixture
def services(services: Services) -> Services:
    ceph = StoreInfo("ceph", "opaque", weight=-1, read_only=True, properties={"schemes": "rbd"})
    fast = MemoryStore("fast", weight=100, default=True, description="a volume")
    blocks = StoreInfo("blocks", "blocks", description="Deduplicated blocks.")
    return replace(services, stores=StoreSet([OpaqueStore(ceph, {"rbd"}), fast], blocks=blocks))


@pytest.fixture
def server(services: Services) -> Iterator[RunningServer]:
    with RunningServer(services) as running:
        yield running


def test_everybody_is_told_names_and_what_clients_choose_by(services: Services) -> None:
    with RunningServer(services, caller=READER) as server:
        assert server.call("GET", "/v2/info/stores").json == {
            "stores": [
                {"id": "fast", "description": "a volume", "default": "true"},
                {"id": "blocks", "description": "Deduplicated blocks."},
                {"id": "ceph", "read-only": "true"},
            ]
        }


@pytest.mark.parametrize("caller", [ADMIN, SERVICE, BEHALF], ids=["admin", "service", "behalf"])
def test_operators_and_services_are_told_the_rest(services: Services, caller: Caller) -> None:
    with RunningServer(services, caller=caller) as server:
        told = server.call("GET", "/v2/info/stores/detail").json["stores"]
    assert told[0] == {
        "id": "fast",
        "description": "a volume",
        "default": "true",
        "type": "file",
        "weight": 100,
        "properties": {"room": "memory"},
    }
    assert [store["type"] for store in told] == ["file", "blocks", "opaque"]


@pytest.mark.parametrize("caller", [READER, MEMBER], ids=["reader", "member"])
def test_others_are_not(services: Services, caller: Caller) -> None:
    with RunningServer(services, caller=caller) as server:
        answer = server.call("GET", "/v2/info/stores/detail")
        assert (answer.status, answer.code) == (403, "forbidden")


def test_a_new_image_tells_which_stores_could_take_its_bytes(server: RunningServer) -> None:
    answer = server.call("POST", "/v2/images", json_body={"name": "debian"})
    assert answer.headers["OpenStack-image-store-ids"] == "fast,blocks"


def test_a_record_comes_out_as_it_went_in() -> None:
    stores = [
        StoreRecord(id="a", description="x", default=True, type="file", weight=3, properties={"data_dir": "/a"}),
        StoreRecord(id="b", read_only=True, type="http", weight=0),
    ]
    assert parse_stores(stores_document(stores, detail=True)) == stores
    plain = parse_stores(stores_document(stores, detail=False))
    assert [(store.id, store.type, store.weight) for store in plain] == [("a", None, None), ("b", None, None)]


@pytest.mark.parametrize("document", [None, [], {}, {"stores": 3}, {"stores": [3]}, {"stores": [{"id": 3}]}])
def test_what_is_no_list_of_stores_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="store"):
        parse_stores(document)


def test_the_verb_lists_stores(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DRYSTONE_ENDPOINT", f"http://127.0.0.1:{server.port}")
    assert run(["stores"]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "fast\tfile\t100\tdefault\ta volume",
        "blocks\tblocks\t0\t\tDeduplicated blocks.",
        "ceph\topaque\t-1\tread-only\t",
    ]
    assert run(["stores", "--quiet"]) == 0
    assert capfd.readouterr().out == "fast\nblocks\nceph\n"


def test_the_verb_lists_less_for_who_may_not_know_more(
    services: Services, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with RunningServer(services, caller=READER) as server:
        monkeypatch.setenv("DRYSTONE_ENDPOINT", f"http://127.0.0.1:{server.port}")
        assert run(["stores", "--json"]) == 0
    assert '"id": "fast"' in (told := capfd.readouterr().out)
    assert "weight" not in told


def test_where_no_stores_are_configured_the_verb_says_so(
    services: Services, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with RunningServer(replace(services, stores=StoreSet(several=False))) as server:
        monkeypatch.setenv("DRYSTONE_ENDPOINT", f"http://127.0.0.1:{server.port}")
        assert run(["stores"]) == 0
        told = capfd.readouterr()
        assert (told.out, told.err) == ("", "drystone: this service does not tell stores apart\n")
        answer = server.call("POST", "/v2/images", json_body={"name": "debian"})
        assert "OpenStack-image-store-ids" not in answer.headers


def test_an_image_in_a_file_of_this_machine_is_cloned_and_not_downloaded(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fast").mkdir()
    store = FileStore(StoreInfo("fast", "file", weight=1), FilePlace(tmp_path / "fast"))
    services = replace(services, stores=StoreSet([store], blocks=OUR_BLOCKS), show_direct_url=True)
    with RunningServer(services) as server:
        monkeypatch.setenv("DRYSTONE_ENDPOINT", f"http://127.0.0.1:{server.port}")
        image_id = server.new_image()
        octets = {"Content-Type": "application/octet-stream"}
        assert server.call("PUT", f"/v2/images/{image_id}/file", b"bytes" * 1000, octets).status == 204
        server.run(copied(services, image_id, store))
        out = tmp_path / "out.raw"
        assert run(["pull", image_id, str(out), "--reflink", "--json"]) == 0
        told = json.loads(capfd.readouterr().out)
        assert (told["cloned"] is not None, told["verified"], told["received"]) == (True, True, 0)
        assert out.read_bytes() == b"bytes" * 1000
        server.run(store.close())
