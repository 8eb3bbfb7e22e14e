"""The store `s3`, against the real SeaweedFS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import obstore
import pytest

from catalog.model.errors import CopyLost, StoreDown, StoreFull
from catalog.store_ports import StoreInfo
from catalog.stores import s3
from catalog.stores.memory_budget import FarMemory, MemoryBudget
from catalog.stores.s3 import S3Copies
from catalog.stores.s3_bucket import Bucket
from catalog.stores.s3_requests import Keys
from tests.contracts.far_stores import FarStoreContract, Left
from tests.contracts.stores import IMAGE, MIB, is_there, noise, play, put
from tests.kit import real_s3
from tests.kit.authority import Authority
from tests.kit.copies import BytesCopy, all_of, kept
from tests.kit.copying_process import killed_after
from tests.kit.real_s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.serial
KEYS = Keys(real_s3.ACCESS_KEY, real_s3.SECRET_KEY)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as running:
        yield running


def made(
    server: S3Server | str, *, bucket: str = "images", keys: Keys = KEYS, patience: float = 5.0, prefix: str = "kept/"
) -> S3Copies:
    endpoint = server if isinstance(server, str) else server.endpoint
    where = Bucket(bucket, endpoint, real_s3.REGION, keys, prefix=prefix)
    return S3Copies(StoreInfo("deep", "s3"), where, FarMemory(), patience=patience)


@pytest.fixture
def store(server: S3Server) -> S3Copies:
    return made(server)


class TestS3(FarStoreContract):
    """The common suite."""

    @pytest.fixture
    def hasty(self, server: S3Server) -> S3Copies:
        return made(server, patience=2.0)

    @pytest.fixture
    def left(self, server: S3Server) -> Left:
        return lambda url: [*server.unfinished(), *(key for key in server.objects() if key in url)]

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return [KEYS.access, KEYS.secret]

    @pytest.fixture(params=["refuses", "is silent"])
    def down(self, request: pytest.FixtureRequest) -> Iterator[S3Copies]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
            if request.param == "refuses":
                listening.close()
            yield made(endpoint, patience=1.5)

    def test_a_part_fits_every_size(self) -> None:
        for size in (0, 1, 80 << 30, 1 << 40, 5 << 40):
            part = s3.part_size(size)
            assert part >= 5 * MIB
            assert part * s3.MOST_PARTS >= size


PARTS = 2 * s3.PART + 3 * MIB + 1
"""A copy of three parts."""


def test_a_copy_of_many_parts_is_one_object_and_is_read_by_ranges(server: S3Server) -> None:
    store = made(server, prefix="parts/")

    async def scenario() -> None:
        data = noise(PARTS)
        url = await put(store, data)
        assert await kept(store, url, PARTS) == data
        reader = await store.open(url, PARTS)
        assert await all_of(reader, 5 * MIB + 1, PARTS - 7) == data[5 * MIB + 1 : PARTS - 7]
        reader.close()
        assert server.unfinished() == []

    play(store, scenario())
    [key] = [each for each in server.objects() if each.startswith("parts/")]
    assert key.startswith(f"parts/{IMAGE}-")


def test_what_a_read_holds_ahead_is_given_back(server: S3Server) -> None:
    memory = FarMemory(reads=MemoryBudget(5 * MIB))
    store = S3Copies(StoreInfo("deep", "s3"), Bucket("images", server.endpoint, real_s3.REGION, KEYS), memory)

    async def scenario() -> None:
        data = noise(PARTS)
        url = await put(store, data)
        # More readers than there is memory for: the others read in small steps.
        found = await asyncio.gather(*(kept(store, url) for _ in range(4)))
        assert found == [data] * 4
        assert memory.reads.try_take(5 * MIB)
        async with memory.writes.held(1 << 60):
            pass
        await store.remove(url)

    play(store, scenario())


@pytest.mark.parametrize("again", ["removed", "written"])
def test_what_a_killed_writer_left_is_gone_when_its_url_is_removed_or_written_again(
    server: S3Server, again: str
) -> None:
    store = made(server)
    url = store.place(IMAGE)
    other = store.place(IMAGE)

    async def left() -> None:
        for each in (url, other, other):
            key = each.removeprefix("s3://images/")
            writer = obstore.open_writer_async(store._objects, key, buffer_size=5 * MIB, max_concurrency=1)
            await writer.write(noise(11 * MIB))
        for _ in range(100):
            if len(server.unfinished()) == 3:
                break
            await asyncio.sleep(0.05)

    async def scenario() -> None:
        await left()
        assert len(server.unfinished()) == 3
        await (store.remove(url) if again == "removed" else store.write(url, BytesCopy(b"again")))
        assert len(server.unfinished()) == 2
        await store.remove(other)
        assert server.unfinished() == []
        await store.remove(url)

    play(store, scenario())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nothing_in_the_environment_leads_elsewhere(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    nowhere = "http://127.0.0.1:1"
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, nowhere)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ROLE_ARN"):
        monkeypatch.setenv(name, "another's")
    for name in ("AWS_SKIP_SIGNATURE", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "AWS_UNSIGNED_PAYLOAD"):
        monkeypatch.setenv(name, "true")
    store = made(server.endpoint.replace("127.0.0.1", host))

    async def scenario() -> None:
        await store.check()
        url = await put(store, noise(PARTS))
        assert await kept(store, url) == noise(PARTS)
        await store.remove(url)

    play(store, scenario())


def test_a_writer_that_is_killed_leaves_nothing_to_open_and_nothing_after_remove(server: S3Server) -> None:
    store = made(server)
    url = store.place(IMAGE)
    killed_after("s3", server.endpoint, url, mib=30, of=60)

    async def scenario() -> None:
        assert not await is_there(store, url)
        assert len(server.unfinished()) == 1
        await store.remove(url)
        assert server.unfinished() == []

    play(store, scenario())


def test_a_server_whose_certificate_the_system_does_not_know_is_trusted_by_ca_file(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    room = tmp_path_factory.mktemp("tls")
    authority = Authority(room)
    with S3Server(room / "s3", tls=authority.sign()) as server:
        ca = authority.path.read_text(encoding="ascii")
        bucket = Bucket("images", server.endpoint, real_s3.REGION, KEYS, ca=ca)
        tls = ssl.create_default_context(cadata=ca)
        trusting = S3Copies(StoreInfo("deep", "s3"), bucket, FarMemory(), tls=tls)

        async def scenario() -> None:
            await trusting.check()
            data = noise(PARTS)
            url = await put(trusting, data)
            assert await kept(trusting, url) == data

        play(trusting, scenario())
        doubting = made(server)

        async def refused() -> None:
            with pytest.raises(StoreDown, match="its certificate cannot be trusted"):
                await doubting.check()
            with pytest.raises(StoreDown):
                await doubting.open(doubting.place(IMAGE), 1)

        play(doubting, refused())


@pytest.mark.parametrize(
    "keys", [Keys(real_s3.ACCESS_KEY, "wrong" * 4), Keys("nobody", real_s3.SECRET_KEY)], ids=["secret", "name"]
)
def test_wrong_credentials_are_told_as_such(server: S3Server, keys: Keys) -> None:
    store, url = made(server, keys=keys), made(server).place(IMAGE)

    async def scenario() -> None:
        for act in (store.check(), store.open(url, 1), store.write(url, BytesCopy(b"x")), store.remove(url)):
            with pytest.raises(StoreDown, match="credentials are refused") as caught:
                await act
            assert keys.secret not in str(caught.value)

    play(store, scenario())


def test_keys_that_only_read_are_told_so_when_something_is_written(server: S3Server) -> None:
    writer, reader = made(server), made(server, keys=Keys(real_s3.READER_KEY, real_s3.SECRET_KEY))

    async def scenario() -> None:
        url = await put(writer, b"kept")
        await reader.check()
        assert await kept(reader, url) == b"kept"
        with pytest.raises(StoreDown, match="credentials are refused"):
            await reader.write(reader.place(IMAGE), BytesCopy(noise(MIB)))
        await writer.close()

    play(reader, scenario())


def test_a_bucket_that_is_not_there_makes_the_store_down_and_no_copy_lost(server: S3Server) -> None:
    server.bucket("passing")
    store = made(server, bucket="passing")

    async def scenario() -> None:
        url = await put(store, b"kept")
        await store.check()
        reader = await store.open(url, 4)
        server.drop_bucket("passing")
        for act in (
            *(store.check(), store.open(url, None), all_of(reader), store.remove(url)),
            store.write(store.place(IMAGE), BytesCopy(b"x")),
        ):
            with pytest.raises(StoreDown, match="its bucket is not there: make it, or correct `bucket`"):
                await act
        server.bucket("passing")
        with pytest.raises(CopyLost):
            await store.open(url, 4)

    play(store, scenario())


def test_a_copy_that_was_replaced_under_a_reader_is_lost_to_it(server: S3Server) -> None:
    store = made(server)

    async def scenario() -> None:
        url = await put(store, noise(3 * MIB))
        reader = await store.open(url, None)
        await store.write(url, BytesCopy(noise(3 * MIB, 2)))
        with pytest.raises(CopyLost):
            await all_of(reader)
        await store.remove(url)

    play(store, scenario())


def test_urls_beside_the_bucket_and_prefix_are_others(server: S3Server) -> None:
    store = made(server)
    odd = (
        "s3://images/x",
        "s3://images/kept/a/b",
        "s3://images/kept/../x",
        "s3://other/kept/x",
        "s3://images/kept/a?b",
    )
    assert not [url for url in odd if store.owns(url)]
    with pytest.raises(CopyLost):
        play(store, store.open("s3://images/x", None))


def test_words_for_a_full_store_are_known(server: S3Server) -> None:
    store = made(server)
    for status, code in ((403, "QuotaExceeded"), (507, "XMinioStorageFull"), (507, ""), (413, "")):
        assert isinstance(store._refusal(status, code), StoreFull)
    for status, code in ((500, "InternalError"), (403, ""), (0, ""), (404, "NoSuchBucket")):
        assert isinstance(store._refusal(status, code), StoreDown)
