"""The http store, against a server on loopback that does what servers do wrong."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from catalog.model.errors import CopyLost, StoreDown, StoreReadOnly
from catalog.store_ports import StoreInfo
from catalog.stores.http import HttpStore
from catalog.stores.outgoing.outgoing import Outgoing
from catalog.stores.outgoing.rules import Rules
from catalog.stores.outgoing.way import Waits
from tests.contracts.stores import IMAGE, MIB, ReadingContract, noise, play
from tests.kit.broken_web import BrokenWeb, Served
from tests.kit.copies import BytesCopy, all_of, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.store_ports import Store
    from tests.contracts.stores import Keep

INFO = StoreInfo("web", "http", read_only=True)
LOOPBACK = (ip_network("127.0.0.0/8"),)


def store_at(port: int, prefix: str | None = None) -> HttpStore:
    rules = Rules(ports=frozenset({port}), networks=LOOPBACK)
    return HttpStore(INFO, Outgoing(rules, waits=Waits(2.0, 2.0)), url_prefix=prefix)


@pytest.fixture
def web() -> Iterator[BrokenWeb]:
    with BrokenWeb() as running:
        yield running


class TestHttpStore(ReadingContract):
    @pytest.fixture(params=["ranges", "no ranges"])
    def keep(self, web: BrokenWeb, request: pytest.FixtureRequest) -> Keep:
        async def serve(store: Store, data: bytes) -> str:
            path = f"/images/{len(web.files)}"
            web.files[path] = Served(data, ranges=request.param == "ranges")
            return web.url(path)

        return serve

    @pytest.fixture
    def store(self, web: BrokenWeb) -> HttpStore:
        return store_at(web.port, web.url("/images/"))

    @pytest.fixture
    def down(self) -> HttpStore:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        return store_at(port, f"http://127.0.0.1:{port}/images")

    def missing(self, store: Store) -> str:
        assert isinstance(store, HttpStore)
        return f"{store._prefix}/missing"


def test_nothing_is_written_or_removed(web: BrokenWeb) -> None:
    async def scenario() -> None:
        with pytest.raises(StoreReadOnly):
            store.place(IMAGE)
        with pytest.raises(StoreReadOnly):
            await store.write(web.url("/x"), BytesCopy(b""))
        await store.remove(web.url("/x"))
        await store.check()
        assert store.path(web.url("/x")) is None

    store = store_at(web.port)
    play(store, scenario())
    assert not web.asked


def test_with_a_prefix_only_what_is_below_it_is_its_own() -> None:
    store = store_at(80, "https://mirror.example/images/")
    assert store.owns("HTTPS://Mirror.example:443/images/a?x=y")
    others = ["/images", "/imagesx/a", "/other", "/images/../other", "/images/%2e%2e/other", "/images/..%2Fother", "/"]
    assert not [path for path in others if store.owns(f"https://mirror.example{path}")]
    assert not store.owns("http://mirror.example/images/a")
    assert not store.owns("https://mirror.example:8080/images/a")
    assert store_at(80).owns("http://anywhere.example/a")
    assert not store_at(80).owns("http://0x7f.1/")


def test_what_breaks_off_goes_on_there_once_and_then_is_down(web: BrokenWeb) -> None:
    async def scenario() -> None:
        data = noise(3 * MIB)
        web.files["/x"] = Served(data)
        reader = await store.open(web.url("/x"), len(data))
        web.files["/x"].drops = [MIB, MIB]
        assert await all_of(reader, 5) == data[5:]
        web.files["/x"].drops = [MIB, 0, 0]
        with pytest.raises(StoreDown, match="web: "):
            await all_of(reader)
        reader.close()

    store = store_at(web.port)
    play(store, scenario())


def test_a_file_that_is_another_one_than_when_it_was_opened_is_lost(web: BrokenWeb) -> None:
    async def scenario() -> None:
        data = noise(MIB)
        web.files["/x"] = Served(data)
        reader = await store.open(web.url("/x"), len(data))
        web.files["/x"] = Served(data[::-1], etag='"two"')
        with pytest.raises(CopyLost, match="changed"):
            await all_of(reader)
        assert await kept(store, web.url("/x")) == data[::-1]

    store = store_at(web.port)
    play(store, scenario())


def test_what_the_rules_refuse_is_not_asked(web: BrokenWeb) -> None:
    async def scenario() -> None:
        web.redirect("/x", f"http://10.0.0.1:{web.port}/")
        with pytest.raises(StoreDown, match="private address"):
            await store.open(web.url("/x"), None)
        with pytest.raises(StoreDown, match="outgoing_ports"):
            await store.open("http://example.org:81/", None)
        web.files["/y"] = Served(b"x", status=403)
        with pytest.raises(StoreDown, match="403"):
            await store.open(web.url("/y"), None)
        web.files["/z"] = Served(b"x", chunked=True, ranges=False)
        with pytest.raises(StoreDown, match="how long"):
            await store.open(web.url("/z"), None)

    store = store_at(web.port)
    play(store, scenario())
