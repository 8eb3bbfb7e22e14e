"""What every store owes, as tests; a test module inherits them and gives the fixtures.

- `store`: a store, empty. It is used in one event loop, by `play`, which closes it.
- `down`: a store of the same kind that cannot be reached now, or whose other end is silent; its time-outs are short.
- `secrets`: texts that stand in its credentials and must show nowhere.

`ReadingContract` wants in addition `keep`: puts bytes where a store that is only read finds them, and gives their URL.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

from catalog.model.errors import CatalogError, CopyLost, StoreDown
from tests.kit.copies import BytesCopy, all_of, kept

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from catalog.store_ports import CopyReader, Store

T = TypeVar("T")
IMAGE = "0c1f2b8e-93a4-4a2f-8a51-d8f7a3b5c601"
OTHER = "f3a1f0aa-27c2-4ad4-9b1f-2f3cbb5de002"
MIB = 1 << 20
SIZES = (0, 1, 511, 4096, 65_537, 3 * MIB + 17, 8 * MIB)
PATIENCE = 15.0
"""Seconds within which a store that is down must have said so."""


class Keep(Protocol):
    """Puts bytes into a store."""

    def __call__(self, store: Store, data: bytes) -> Awaitable[str]: ...


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(f"{seed} {size}").randbytes(size)


def with_holes(size: int) -> bytes:
    """Data, a long hole, data, a hole to the end; the ends are odd."""
    data = bytearray(size)
    data[:70_001] = noise(70_001, 2)
    data[size // 2 : size // 2 + 4097] = noise(4097, 3)
    return bytes(data)


def play(store: Store, scenario: Coroutine[None, None, T]) -> T:
    """Run a scenario in a loop of its own, and close the store in it."""

    async def all_of_it() -> T:
        try:
            return await scenario
        finally:
            await store.close()

    return asyncio.run(all_of_it())


async def is_there(store: Store, url: str) -> bool:
    try:
        reader = await store.open(url, None)
    except CopyLost:
        return False
    reader.close()
    return True


async def put(store: Store, data: bytes) -> str:
    url = store.place(IMAGE)
    await store.write(url, BytesCopy(data))
    return url


class ReadingContract:
    """What a store owes to readers."""

    @pytest.fixture
    def keep(self) -> Keep:
        return put

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return ()

    @pytest.mark.parametrize("size", SIZES)
    def test_a_copy_is_read_as_it_was_kept(self, store: Store, keep: Keep, size: int) -> None:
        async def scenario() -> None:
            data = noise(size)
            url = await keep(store, data)
            assert store.owns(url)
            assert await kept(store, url, size) == data
            assert await kept(store, url) == data

        play(store, scenario())

    def test_any_range_is_read_also_again_and_several_at_once(self, store: Store, keep: Keep) -> None:
        async def scenario() -> None:
            data = noise(3 * MIB + 17)
            reader = await store.open(await keep(store, data), len(data))
            ends = [(0, 0), (0, 1), (5, 5), (MIB - 1, MIB + 1), (65_536, 2 * MIB), (len(data) - 1, len(data))]
            for start, stop in ends:
                assert await all_of(reader, start, stop) == data[start:stop]
            parts = await asyncio.gather(*(all_of(reader, start, stop) for start, stop in ends))
            assert parts == [data[start:stop] for start, stop in ends]
            reader.close()
            reader.close()

        play(store, scenario())

    def test_a_reader_that_goes_early_holds_nothing_up(self, store: Store, keep: Keep) -> None:
        async def scenario() -> None:
            data = noise(8 * MIB)
            url = await keep(store, data)
            for _ in range(20):
                reader = await store.open(url, None)
                pieces = reader.read(0, len(data))
                first = bytes(await anext(pieces))
                assert data.startswith(first)
                await pieces.aclose()  # type: ignore[attr-defined]  # each store's is a generator
                reader.close()
            assert await kept(store, url) == data

        play(store, scenario())

    def test_a_copy_that_is_cancelled_in_mid_read_can_be_read_again(self, store: Store, keep: Keep) -> None:
        async def scenario() -> None:
            data = noise(8 * MIB)
            url = await keep(store, data)
            reader = await store.open(url, None)
            for seconds in (0.0, 0.001, 0.005):
                reading = asyncio.create_task(all_of(reader))
                await asyncio.sleep(seconds)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            reader.close()
            assert await kept(store, url) == data

        play(store, scenario())

    @pytest.mark.parametrize("off", [-1, 1, MIB])
    def test_a_copy_of_another_size_is_lost(self, store: Store, keep: Keep, off: int) -> None:
        async def scenario() -> None:
            url = await keep(store, noise(2 * MIB))
            with pytest.raises(CopyLost):
                await store.open(url, 2 * MIB + off)

        play(store, scenario())

    def test_what_is_not_there_does_not_make_the_store_down(self, store: Store) -> None:
        async def scenario() -> None:
            await store.check()
            with pytest.raises(CopyLost):
                await store.open(self.missing(store), None)
            await store.check()

        play(store, scenario())

    def missing(self, store: Store) -> str:
        """A URL of this store at which nothing is."""
        return store.place(OTHER)

    def test_a_store_that_is_down_says_so_in_time_and_without_its_secrets(
        self, down: Store, secrets: Sequence[str]
    ) -> None:
        async def scenario() -> None:
            for act in self.acts(down):
                began = time.monotonic()
                with pytest.raises(StoreDown) as caught:
                    await act()
                assert time.monotonic() - began < PATIENCE
                assert down.info.name in str(caught.value)
                assert not [secret for secret in secrets if secret in str(caught.value) + repr(caught.value)]

        play(down, scenario())

    def acts(self, down: Store) -> Sequence[Callable[[], Awaitable[object]]]:
        """What must fail at a store that is down."""
        url = self.missing(down)
        return [down.check, lambda: down.open(url, 5)]

    def test_urls_that_are_not_its_own_are_not(self, store: Store) -> None:
        own = self.missing(store)
        odd = ["", "x", "blocks://" + "5" * 32 + "/m", own.partition("://")[0] + "://", "unheard://of/it", own + "\n"]
        assert not [url for url in odd if store.owns(url)]

    def test_what_is_told_of_it_has_no_secrets(self, store: Store, secrets: Sequence[str]) -> None:
        told = repr(store.info) + self.missing(store)
        assert not [secret for secret in secrets if secret in told]


class StoreContract(ReadingContract):
    """What a store owes that can be written to."""

    def acts(self, down: Store) -> Sequence[Callable[[], Awaitable[object]]]:
        url = down.place(OTHER)
        writing = [lambda: down.write(url, BytesCopy(noise(3 * MIB))), lambda: down.remove(url)]
        return [*super().acts(down), *writing]

    def test_a_url_is_never_given_twice_and_names_no_secret(self, store: Store, secrets: Sequence[str]) -> None:
        urls = [store.place(image) for image in (IMAGE, OTHER) for _ in range(200)]
        assert len(set(urls)) == len(urls)
        assert all(store.owns(url) and re.fullmatch(r"[a-z0-9+]+://[\x21-\x7e]+", url) for url in urls)
        assert not [url for url in urls if any(secret in url for secret in secrets)]

    @pytest.mark.parametrize("size", [2 * MIB, 5 * MIB + 3])
    def test_holes_are_read_as_zeros(self, store: Store, size: int) -> None:
        async def scenario() -> None:
            for data in (with_holes(size), bytes(size)):
                assert await kept(store, await put(store, data), size) == data

        play(store, scenario())

    @pytest.mark.parametrize("piece", [1, 1000, 65_536, 99_999])
    def test_pieces_of_any_length_are_kept_in_their_order(self, store: Store, piece: int) -> None:
        async def scenario() -> None:
            data = noise(min(200_003, 3000 * piece))
            url = store.place(IMAGE)
            await store.write(url, BytesCopy(data, piece=piece))
            assert await kept(store, url) == data

        play(store, scenario())

    @pytest.mark.parametrize("at", [0, 2 * MIB, 5 * MIB])
    def test_a_write_that_is_cancelled_leaves_nothing_to_open(self, store: Store, at: int) -> None:
        async def scenario() -> None:
            here = asyncio.Event()

            async def hang(position: int) -> None:
                if position >= at:
                    here.set()
                    await asyncio.sleep(3600)

            data = noise(5 * MIB + 1)
            url = store.place(IMAGE)
            writing = asyncio.create_task(store.write(url, BytesCopy(data, before=hang)))
            await here.wait()
            assert not await is_there(store, url)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            assert not await is_there(store, url)
            await store.write(url, BytesCopy(data))
            assert await kept(store, url) == data
            await store.remove(url)

        play(store, scenario())

    def test_a_write_that_is_cancelled_at_any_moment_is_whole_or_not_there(self, store: Store) -> None:
        async def scenario() -> None:
            data = noise(2 * MIB)
            for number in range(12):
                url, source = store.place(IMAGE), BytesCopy(data)
                writing = asyncio.create_task(store.write(url, source))
                await asyncio.sleep(0.002 * number)
                writing.cancel()
                [outcome] = await asyncio.gather(writing, return_exceptions=True)
                assert not source.reading, "what the source holds is given back when the write ends"
                assert outcome is None or isinstance(outcome, asyncio.CancelledError)
                if outcome is None:
                    assert await kept(store, url) == data
                else:
                    assert not await is_there(store, url)
                await store.remove(url)
                assert not await is_there(store, url)

        play(store, scenario())

    @pytest.mark.parametrize("at", [0, 2 * MIB])
    def test_what_the_source_raises_passes_through_and_nothing_is_there(self, store: Store, at: int) -> None:
        class Broken(CatalogError):
            pass

        async def scenario() -> None:
            async def break_off(position: int) -> None:
                if position >= at:
                    raise Broken("in the middle")

            url = store.place(IMAGE)
            with pytest.raises(Broken, match="in the middle"):
                await store.write(url, BytesCopy(noise(4 * MIB), before=break_off))
            assert not await is_there(store, url)
            await store.remove(url)

        play(store, scenario())

    def test_writing_anew_leaves_the_last_whole_bytes(self, store: Store) -> None:
        async def scenario() -> None:
            url = store.place(IMAGE)
            for size in (3 * MIB, MIB + 1, 0):
                await store.write(url, BytesCopy(noise(size)))
                assert await kept(store, url, size) == noise(size)

        play(store, scenario())

    def test_what_is_removed_is_gone_and_can_be_removed_again(self, store: Store) -> None:
        async def scenario() -> None:
            first, second = await put(store, noise(MIB)), await put(store, noise(MIB, 2))
            await store.remove(first)
            assert not await is_there(store, first)
            assert await kept(store, second) == noise(MIB, 2)
            await store.remove(first)
            await store.remove(store.place(OTHER))

        play(store, scenario())

    def test_copies_of_several_images_are_written_at_once(self, store: Store) -> None:
        async def scenario() -> None:
            datas = [noise(2 * MIB + each, each) for each in range(6)]
            urls = await asyncio.gather(*(put(store, data) for data in datas))
            found = await asyncio.gather(*(kept(store, url) for url in urls))
            assert found == datas

        play(store, scenario())

    def test_a_copy_of_a_store_can_be_the_source_of_another(self, store: Store) -> None:
        async def scenario() -> None:
            data = with_holes(4 * MIB + 5)
            source: CopyReader = await store.open(await put(store, data), None)
            url = store.place(OTHER)
            await store.write(url, source)
            source.close()
            assert await kept(store, url) == data

        play(store, scenario())
