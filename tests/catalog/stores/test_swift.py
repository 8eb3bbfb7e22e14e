"""The store `swift`, against the real Swift."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from catalog.model.errors import CopyLost, StoreDown, StoreFull
from catalog.store_ports import StoreInfo
from catalog.stores.swift import SwiftCopies
from catalog.stores.swift_login import Keystone, TempAuth, by_credential, by_password, of_project
from tests.contracts.far_stores import FarStoreContract, Left
from tests.contracts.stores import IMAGE, MIB, is_there, noise, play, put
from tests.kit import real_keystone, real_swift
from tests.kit.copies import BytesCopy, all_of, kept
from tests.kit.copying_process import killed_after
from tests.kit.real_swift import SwiftServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from catalog.stores.swift_login import Login

pytestmark = pytest.mark.serial


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    with SwiftServer(tmp_path_factory.mktemp("swift")) as running:
        yield running


def made(
    server: SwiftServer,
    *,
    container: str = "images",
    login: Login | None = None,
    segment_size: int = 2 * MIB,
    patience: float = 5.0,
) -> SwiftCopies:
    login = login or TempAuth(server.auth_url, real_swift.USER, real_swift.KEY)
    info = StoreInfo("object", "swift")
    return SwiftCopies(info, container, login, segment_size=segment_size, patience=patience)


@pytest.fixture
def store(server: SwiftServer) -> SwiftCopies:
    return made(server)


class TestSwift(FarStoreContract):
    """The common suite; copies beyond 2 MiB are in segments."""

    @pytest.fixture
    def hasty(self, server: SwiftServer) -> SwiftCopies:
        return made(server, patience=2.0, segment_size=8 * MIB)

    @pytest.fixture
    def left(self, server: SwiftServer) -> Left:
        return lambda url: remains(server, url)

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return [real_swift.KEY]

    @pytest.fixture(params=["refuses", "is silent"])
    def down(self, request: pytest.FixtureRequest) -> Iterator[SwiftCopies]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            auth = f"http://127.0.0.1:{listening.getsockname()[1]}/auth/v1.0"
            if request.param == "refuses":
                listening.close()
            login = TempAuth(auth, real_swift.USER, real_swift.KEY)
            yield SwiftCopies(StoreInfo("object", "swift"), "images", login, patience=1.5)


def segments(server: SwiftServer) -> Sequence[str]:
    return server.objects("images_segments")


def remains(server: SwiftServer, url: str) -> Sequence[str]:
    """What is there of a copy, with its segments."""
    name = url.rpartition("/")[2]
    return [each for each in (*segments(server), *server.objects()) if name in each]


def test_a_large_copy_is_a_manifest_over_segments_and_both_go(server: SwiftServer) -> None:
    store = made(server)

    async def scenario() -> None:
        data = noise(7 * MIB + 5)
        url = await put(store, data)
        name = url.rpartition("/")[2]
        assert [each for each in segments(server) if name in each] == [f"{name}/{number:08}" for number in range(4)]
        assert await kept(store, url, len(data)) == data
        reader = await store.open(url, None)
        assert await all_of(reader, 3 * MIB + 1, 6 * MIB + 3) == data[3 * MIB + 1 : 6 * MIB + 3]
        await store.remove(url)
        assert not remains(server, url)

    play(store, scenario())


@pytest.mark.parametrize("again", ["removed", "written"])
def test_what_a_killed_writer_left_is_gone_when_its_url_is_removed_or_written_again(
    server: SwiftServer, again: str
) -> None:
    store, later = made(server), made(server, segment_size=64 * MIB)
    url, other = store.place(IMAGE), store.place(IMAGE)
    names = [each.rpartition("/")[2] for each in (url, other)]

    async def scenario() -> None:
        await put(store, noise(5 * MIB))
        for name in names:
            for number in range(11):
                reply = await store.account.ask("PUT", store._segment(name, number), body=b"part")
                assert reply.status == 201
        await (later.remove(url) if again == "removed" else later.write(url, BytesCopy(b"again")))
        assert not [each for each in segments(server) if names[0] in each]
        assert len([each for each in segments(server) if names[1] in each]) == 11
        await store.remove(other)
        assert not [each for each in segments(server) if names[1] in each]
        await later.remove(url)
        await later.close()

    play(store, scenario())


def test_segments_that_no_listing_shows_yet_are_removed(server: SwiftServer) -> None:
    class Unlisted(SwiftCopies):
        async def _last_listed(self, name: str) -> int:
            return 0

    store = made(server)
    store.__class__ = Unlisted

    async def scenario() -> None:
        url = await put(store, noise(7 * MIB))
        await store.remove(url)
        assert not [each for each in segments(server) if each.startswith(url.rpartition("/")[2])]

    play(store, scenario())


def test_a_read_goes_on_by_itself_when_the_server_is_back_soon(server: SwiftServer) -> None:
    store = made(server)

    async def scenario() -> None:
        data = noise(20 * MIB)
        url = await put(store, data)
        reader = await store.open(url, len(data))
        taken = bytearray()
        async for piece in reader.read(0, len(data)):
            if not taken:
                server.kill()
                server.start()
            taken += piece
        assert taken == data
        await store.remove(url)

    play(store, scenario())


def test_a_write_goes_on_when_the_server_is_back_soon(server: SwiftServer) -> None:
    store = made(server)

    async def scenario() -> None:
        failed = False

        async def fail(position: int) -> None:
            nonlocal failed
            if position == 5 * MIB and not failed:
                failed = True
                server.kill()
                server.start()

        data = noise(8 * MIB)
        url = store.place(IMAGE)
        await store.write(url, BytesCopy(data, before=fail))
        assert await kept(store, url) == data
        await store.remove(url)

    play(store, scenario())


@pytest.mark.parametrize("mib", [1, 11])
def test_a_writer_that_is_killed_leaves_nothing_to_open_and_nothing_after_remove(server: SwiftServer, mib: int) -> None:
    store = made(server)
    url = store.place(IMAGE)
    killed_after("swift", server.auth_url, url, mib=mib, of=20)

    async def scenario() -> None:
        assert not await is_there(store, url)
        await store.remove(url)
        assert not remains(server, url)

    play(store, scenario())


@pytest.mark.parametrize(
    ("user", "key"),
    [(real_swift.USER, "wrong-key"), ("nobody:at all", real_swift.KEY), (real_swift.READER, real_swift.READER_KEY)],
)
def test_wrong_credentials_are_told_as_such(server: SwiftServer, user: str, key: str) -> None:
    store = made(server, login=TempAuth(server.auth_url, user, key))
    url = store.place(IMAGE)

    async def scenario() -> None:
        for act in (store.check(), store.open(url, 1), store.write(url, BytesCopy(b"x")), store.remove(url)):
            with pytest.raises(StoreDown, match="credentials are refused") as caught:
                await act
            assert key not in str(caught.value)

    play(store, scenario())


def test_a_container_that_is_not_there_makes_the_store_down_and_no_copy_lost(server: SwiftServer) -> None:
    server.container("passing")
    store = made(server, container="passing")

    async def scenario() -> None:
        url = await put(store, b"kept")
        await store.check()
        reader = await store.open(url, 4)
        server.drop_container("passing")
        acts = (
            *(store.check(), store.open(url, None), all_of(reader)),
            store.write(store.place(IMAGE), BytesCopy(b"x")),
        )
        for act in acts:
            with pytest.raises(StoreDown, match="its container is not there: make it, or correct `container`"):
                await act
        server.container("passing")
        with pytest.raises(CopyLost):
            await store.open(url, 4)

    play(store, scenario())


def test_a_quota_that_is_used_up_is_a_full_store(server: SwiftServer) -> None:
    server.container("narrow", quota=3 * MIB)
    store = made(server, container="narrow", segment_size=64 * MIB)

    async def scenario() -> None:
        url = store.place(IMAGE)
        with pytest.raises(StoreFull, match="quota"):
            await store.write(url, BytesCopy(noise(8 * MIB)))
        assert not await is_there(store, url)
        assert await kept(store, await put(store, noise(MIB))) == noise(MIB)

    play(store, scenario())


def test_a_copy_that_was_replaced_under_a_reader_is_lost_to_it(server: SwiftServer) -> None:
    store = made(server)

    async def scenario() -> None:
        url = await put(store, noise(MIB))
        reader = await store.open(url, None)
        await store.write(url, BytesCopy(noise(MIB, 2)))
        with pytest.raises(CopyLost):
            await all_of(reader)

    play(store, scenario())


def test_a_token_that_has_ended_is_renewed_by_itself(tmp_path_factory: pytest.TempPathFactory) -> None:
    with SwiftServer(tmp_path_factory.mktemp("short"), token_seconds=1) as server:
        store = made(server)

        async def scenario() -> None:
            data = noise(3 * MIB)
            url = await put(store, data)
            await asyncio.sleep(1.3)
            assert await kept(store, url) == data
            reader = await store.open(url, None)
            await asyncio.sleep(1.3)
            assert await all_of(reader) == data
            await asyncio.sleep(1.3)
            await store.write(url, BytesCopy(data[::-1]))
            assert await kept(store, url) == data[::-1]

        play(store, scenario())


def test_keystone_lets_in_by_password_and_by_application_credential(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        real_keystone.Keystone(tmp_path_factory.mktemp("keystone")) as keystone,
        SwiftServer(tmp_path_factory.mktemp("swift"), keystone=keystone) as server,
    ):
        admin = keystone.admin
        credential = keystone.application_credential(admin, "images")
        password = by_password(admin.name, "Default", admin.password)
        scope = of_project(admin.project, "Default")
        logins = [
            Keystone(keystone.url, password, scope, region=real_keystone.REGION),
            Keystone(keystone.url, by_credential(credential["id"], credential["secret"]), interface="internal"),
        ]
        for login in logins:
            store = made(server, login=login)

            async def scenario(store: SwiftCopies) -> None:
                await store.check()
                data = noise(3 * MIB)
                url = await put(store, data)
                assert await kept(store, url) == data
                # As if it had ended, or had been taken back.
                entry = await store.account._entered()
                keystone.revoke(entry.token)
                store.account._entry = entry
                await store.remove(url)

            play(store, scenario(store))
        for login, sentence in (
            (Keystone(keystone.url, by_password(admin.name, "Default", "wrong-pw"), scope), "credentials are refused"),
            (
                Keystone(keystone.url, password, scope, region="Mars"),
                "no public endpoint of type object-store in",
            ),
            (Keystone(f"{keystone.url}/x", password, scope), "is `auth_url` right"),
        ):
            store = made(server, login=login)
            with pytest.raises(StoreDown, match=sentence):
                play(store, store.check())
            assert "wrong-pw" not in repr(login)
