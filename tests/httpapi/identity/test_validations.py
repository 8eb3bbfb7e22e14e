"""What is remembered of tokens: for how long, how much of it, and how often somebody is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from blockstore import clock as clocks
from httpapi.identity import validations
from httpapi.identity.access_rules import AccessRule
from httpapi.identity.token_answer import Token
from httpapi.identity.validations import Validations
from httpapi.wire.errors import IdentityBusy, IdentityUnavailable

if TYPE_CHECKING:
    from collections.abc import Coroutine

GOOD = Token("user", "project", frozenset({"member"}), clocks.now_us() / 1e6 + 7200)


class Asked:
    """Somebody who knows tokens by their text; `down` while not."""

    def __init__(self, seconds: float = 300.0) -> None:
        self.known: dict[str, Token] = {"good": GOOD}
        self.times: Counter[str] = Counter()
        self.lates: list[bool] = []
        self.down = False
        self.gate: asyncio.Event | None = None
        self.now = 1000.0
        self.validations = Validations(self.ask, seconds, clock=lambda: self.now)

    async def ask(self, text: str, late: bool) -> Token | None:  # noqa: FBT001  # the port's shape
        self.times[text] += 1
        self.lates.append(late)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise IdentityUnavailable("down")
        return self.known.get(text)

    async def of(self, text: str, *, late: bool = False) -> Token | None:
        return await self.validations.of(text, late=late)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(scene: Coroutine[None, None, None]) -> None:
    asyncio.run(scene)


def test_a_valid_token_is_asked_about_once_in_its_time() -> None:
    async def scene() -> None:
        asked = Asked()
        for _ in range(10):
            assert await asked.of("good") == GOOD
        assert asked.times["good"] == 1
        asked.now += 300
        assert await asked.of("good") == GOOD
        assert asked.times["good"] == 2

    run(scene())


def test_a_thousand_requests_with_one_new_token_ask_once() -> None:
    async def scene() -> None:
        asked = Asked()
        found = await asyncio.gather(*(asked.of("good") for _ in range(1000)))
        assert found == [GOOD] * 1000
        assert asked.times["good"] == 1

    run(scene())


def test_whoever_gives_up_takes_the_answer_from_nobody() -> None:
    async def scene() -> None:
        asked = Asked()
        asked.gate = asyncio.Event()
        first = asyncio.create_task(asked.of("good"))
        await settled()
        second = asyncio.create_task(asked.of("good"))
        await settled()
        first.cancel()
        asked.gate.set()
        assert await second == GOOD
        assert asked.times["good"] == 1

    run(scene())


def test_a_token_is_not_remembered_beyond_its_end() -> None:
    async def scene() -> None:
        asked = Asked()
        asked.known["short"] = replace(GOOD, expires=clocks.now_us() / 1e6 + 20)
        asked.known["over"] = replace(GOOD, expires=clocks.now_us() / 1e6 - 1)
        await asked.of("short")
        asked.now += 19
        await asked.of("short")
        assert asked.times["short"] == 1
        asked.now += 2
        await asked.of("short")
        assert asked.times["short"] == 2
        assert await asked.of("over")
        assert await asked.of("over")
        assert asked.times["over"] == 2

    run(scene())


def test_a_token_is_remembered_from_when_it_was_asked_about() -> None:
    async def scene() -> None:
        asked = Asked()
        asked.gate = asyncio.Event()
        waiting = asyncio.create_task(asked.of("good"))
        await settled()
        asked.now += 9
        asked.gate.set()
        assert await waiting == GOOD
        # Revoked right after Keystone looked, long before its answer was here.
        del asked.known["good"]
        asked.now += 291
        assert await asked.of("good") is None

    run(scene())


def test_one_that_expired_counts_for_a_service_alone() -> None:
    async def scene() -> None:
        asked = Asked()
        asked.known["over"] = replace(GOOD, expires=clocks.now_us() / 1e6 - 1)
        await asked.of("over", late=True)
        await asked.of("over", late=True)
        assert asked.times["over"] == 1
        await asked.of("over")
        assert asked.lates == [True, False]

    run(scene())


def test_a_token_in_use_is_asked_about_beside_its_requests_before_its_time_is_over() -> None:
    async def scene() -> None:
        asked = Asked()
        await asked.of("good")
        asked.now += 241
        asked.gate = asyncio.Event()
        assert await asked.of("good") == GOOD
        assert await asked.of("good") == GOOD
        await settled()
        assert asked.times["good"] == 2
        asked.gate.set()
        await settled()
        asked.now += 200
        assert await asked.of("good") == GOOD
        assert asked.times["good"] == 2

    run(scene())


def test_a_revoked_token_that_is_in_use_is_refused_as_soon_as_that_is_told() -> None:
    async def scene() -> None:
        asked = Asked()
        await asked.of("good")
        del asked.known["good"]
        asked.now += 250
        assert await asked.of("good") == GOOD
        await settled()
        assert await asked.of("good") is None

    run(scene())


def test_a_revoked_token_is_refused_when_its_time_is_over() -> None:
    async def scene() -> None:
        asked = Asked()
        await asked.of("good")
        del asked.known["good"]
        asked.now += 300
        assert await asked.of("good") is None

    run(scene())


def test_what_is_remembered_goes_on_while_nobody_answers_and_nobody_new_comes_in() -> None:
    async def scene() -> None:
        asked = Asked()
        await asked.of("good")
        asked.down = True
        asked.now += 299
        assert await asked.of("good") == GOOD
        await settled()
        assert await asked.of("good") == GOOD
        assert asked.times["good"] == 2, "not with each request"
        with pytest.raises(IdentityUnavailable):
            await asked.of("new")
        asked.now += 1
        with pytest.raises(IdentityUnavailable):
            await asked.of("good")
        asked.down = False
        assert await asked.of("good") == GOOD

    run(scene())


def test_a_refused_token_is_refused_for_ten_seconds_without_asking() -> None:
    async def scene() -> None:
        asked = Asked()
        for _ in range(10):
            assert await asked.of("bad") is None
        assert asked.times["bad"] == 1
        asked.now += 10
        assert await asked.of("bad") is None
        assert asked.times["bad"] == 2

    run(scene())


def test_a_flood_of_bad_tokens_pushes_no_good_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validations, "MOST_REFUSED", 50)

    async def scene() -> None:
        asked = Asked()
        await asked.of("good")
        for number in range(500):
            await asked.of(f"bad{number}")
        await asked.of("good")
        assert asked.times["good"] == 1
        assert len(asked.validations._refused) == 50

    run(scene())


def test_what_is_remembered_is_bounded_in_number_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validations, "MOST_VALID", 10)

    async def scene() -> None:
        asked = Asked()
        asked.known |= {f"t{number}": GOOD for number in range(100)}
        for number in range(100):
            await asked.of(f"t{number}")
        assert len(asked.validations._valid) == 10
        await asked.of("t99")
        assert asked.times["t99"] == 1
        many = replace(GOOD, roles=frozenset(f"role-{number}" for number in range(100_000)))
        asked.known |= {"big": many, "bigger": replace(many, user="other")}
        monkeypatch.setattr(validations, "MOST_BYTES", many.weight + 10_000)
        monkeypatch.setattr(validations, "HEAVIEST", many.weight + 10_000)
        await asked.of("big")
        await asked.of("bigger")
        assert len(asked.validations._valid) == 1
        assert asked.validations._bytes <= many.weight + 10_000

    run(scene())


def test_a_few_tokens_with_endless_rules_push_no_other_out() -> None:
    async def scene() -> None:
        asked = Asked()
        rules = tuple(AccessRule("image", "GET", f"/{number}") for number in range(2500))
        asked.known |= {f"heavy{number}": replace(GOOD, access_rules=rules) for number in range(60)}
        await asked.of("good")
        for number in range(60):
            assert await asked.of(f"heavy{number}")
        await asked.of("good")
        assert asked.times["good"] == 1

    run(scene())


def test_too_many_questions_at_once_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validations, "MOST_ASKED", 5)

    async def scene() -> None:
        asked = Asked()
        await asked.of("good")
        asked.gate = asyncio.Event()
        waiting = [asyncio.create_task(asked.of(f"t{number}")) for number in range(5)]
        await settled()
        with pytest.raises(IdentityBusy):
            await asked.of("one more")
        assert await asked.of("good") == GOOD
        asked.gate.set()
        assert await asyncio.gather(*waiting) == [None] * 5
        assert await asked.of("one more") is None

    run(scene())


def test_a_flood_of_new_tokens_keeps_nobody_from_being_asked_about_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validations, "MOST_ASKED", 5)
    monkeypatch.setattr(validations, "MOST_RENEWED", 2)

    async def scene() -> None:
        asked = Asked()
        asked.known |= {f"good{number}": GOOD for number in range(5)}
        for number in range(5):
            await asked.of(f"good{number}")
        asked.now += 250
        asked.gate = asyncio.Event()
        waiting = [asyncio.create_task(asked.of(f"bad{number}")) for number in range(5)]
        await settled()
        for number in range(5):
            assert await asked.of(f"good{number}") == GOOD
        await settled()
        assert [asked.times[f"good{number}"] for number in range(5)] == [2, 2, 1, 1, 1]
        asked.gate.set()
        assert await asyncio.gather(*waiting) == [None] * 5
        asked.now += 60
        assert await asked.of("good0") == GOOD
        assert asked.times["good0"] == 2

    run(scene())


def test_with_no_time_to_remember_each_request_asks() -> None:
    async def scene() -> None:
        asked = Asked(seconds=0)
        await asked.of("good")
        await asked.of("good")
        assert asked.times["good"] == 2

    run(scene())


def test_closing_ends_what_is_asked() -> None:
    async def scene() -> None:
        asked = Asked()
        asked.gate = asyncio.Event()
        waiting = asyncio.create_task(asked.of("good"))
        await settled()
        await asked.validations.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(scene())
