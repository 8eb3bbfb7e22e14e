"""What a store owes whose bytes lie at a server that may be killed or fall silent; a test module inherits the tests.

It gives, beside the fixtures of `StoreContract`:
- `server`: that server, which the tests kill, freeze, and have back.
- `hasty`: a store at it whose patience is two seconds, and whose copies of LENGTH bytes are of many requests.
- `left`: what the server has of a copy, whole or in parts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import pytest

from catalog.model.errors import StoreDown
from tests.contracts.stores import IMAGE, MIB, StoreContract, is_there, noise, play, put
from tests.kit.copies import BytesCopy, all_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.store_ports import Store
    from tests.kit.foreign_server import ForeignServer

LENGTH = 40 * MIB
_READ_FAILS_WITHIN, _WRITE_FAILS_WITHIN = 6.0, 30.0
"""Seconds; a write tries its request again, a read as long as its patience."""


class Left(Protocol):
    """What a server has of a copy, whole or in parts."""

    def __call__(self, url: str) -> Sequence[str]: ...


class Trouble:
    """What befalls a server in the middle, once, and its end."""

    def __init__(self, server: ForeignServer, how: str) -> None:
        self._befall, self._end = {
            "killed": (server.kill, server.start),
            "silent": (server.freeze, server.thaw),
        }[how]
        self.began = 0.0

    def begin(self) -> None:
        if not self.began:
            self._befall()
            self.began = time.monotonic()

    def end(self) -> None:
        self._end()


class FarStoreContract(StoreContract):
    """What a store owes whose bytes lie at a server."""

    @pytest.fixture(params=["killed", "silent"])
    def trouble(self, request: pytest.FixtureRequest, server: ForeignServer) -> Trouble:
        return Trouble(server, request.param)

    def test_a_server_that_fails_in_mid_read_is_down_and_read_on_when_it_is_back(
        self, hasty: Store, trouble: Trouble
    ) -> None:
        async def scenario() -> None:
            data = noise(LENGTH)
            url = await put(hasty, data)
            reader = await hasty.open(url, LENGTH)
            taken = bytearray()
            with pytest.raises(StoreDown, match=hasty.info.name):
                async for piece in reader.read(0, LENGTH):
                    trouble.begin()
                    taken += piece
            assert time.monotonic() - trouble.began < _READ_FAILS_WITHIN
            assert taken == data[: len(taken)]
            assert 0 < len(taken) < LENGTH
            trouble.end()
            assert bytes(taken) + await all_of(reader, len(taken)) == data
            await hasty.remove(url)

        play(hasty, scenario())

    def test_a_server_that_fails_in_mid_write_has_nothing_to_open_and_nothing_is_left_by_remove(
        self, hasty: Store, trouble: Trouble, left: Left
    ) -> None:
        async def scenario() -> None:
            async def fail(position: int) -> None:
                if position == LENGTH // 2:
                    trouble.begin()

            url = hasty.place(IMAGE)
            source = BytesCopy(noise(LENGTH), before=fail)
            with pytest.raises(StoreDown):
                await hasty.write(url, source)
            assert not source.reading
            assert time.monotonic() - trouble.began < _WRITE_FAILS_WITHIN
            trouble.end()
            assert not await is_there(hasty, url)
            await hasty.remove(url)
            assert not left(url)

        play(hasty, scenario())
