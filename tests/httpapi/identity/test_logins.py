"""Guessing: what is counted, what is remembered, and who is not locked out by whom."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from httpapi.identity.login_limits import PER_ADDRESS, PER_USER, PER_USER_AND_ADDRESS, LoginLimits, network_of
from httpapi.identity.logins import MOST_WAITING, REMEMBER_SECONDS, Logins
from httpapi.identity.passwords import hash_of
from httpapi.identity.passwords import is_right as right
from httpapi.wire.errors import IdentityBusy, TooManyLogins

if TYPE_CHECKING:
    from collections.abc import Coroutine

HERE, THERE = "192.0.2.1", "198.51.100.7"
HASH = hash_of("right", cost=4)


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> LoginLimits:
    return LoginLimits(clock)


def test_after_five_failures_within_a_minute_the_next_one_waits(limits: LoginLimits, clock: Clock) -> None:
    for _ in range(PER_USER_AND_ADDRESS):
        limits.begin("alice", HERE)
        clock.at += 10
    with pytest.raises(TooManyLogins) as refused:
        limits.begin("alice", HERE)
    assert refused.value.retry_after == 10
    limits.begin("bob", HERE)
    limits.begin("alice", THERE)
    clock.at += 10
    limits.begin("alice", HERE)


def test_a_success_takes_the_slips_before_it_back(limits: LoginLimits, clock: Clock) -> None:
    for _ in range(3 * PER_ADDRESS):
        limits.begin("alice", HERE)
        limits.begin("alice", HERE).succeeded()
        clock.at += 5
    limits = LoginLimits()
    for _ in range(2 * PER_ADDRESS):
        limits.begin("alice", HERE).not_made()
    limits.begin("alice", HERE)


def test_one_address_may_not_try_a_password_on_everybody(limits: LoginLimits) -> None:
    for number in range(PER_ADDRESS):
        limits.begin(f"user{number}", HERE)
    with pytest.raises(TooManyLogins):
        limits.begin("another", HERE)
    limits.begin("another", THERE)


def test_guesses_from_everywhere_lock_no_user_out_of_a_place_that_is_known(limits: LoginLimits) -> None:
    limits.begin("alice", HERE).succeeded()
    for number in range(PER_USER):
        limits.begin("alice", f"10.0.{number}.1")
    with pytest.raises(TooManyLogins):
        limits.begin("alice", THERE)
    limits.begin("alice", HERE)


def test_many_made_up_names_and_addresses_are_forgotten_and_not_kept_for_ever(limits: LoginLimits) -> None:
    for number in range(60_000):
        limits.begin(str(number), f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(limits._tries) <= 3 * 16_384


def test_an_ipv6_network_is_one_sender() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1%eth0") == "2001:db8::/64"
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1")
    assert network_of("-") == "-"


def run(work: Coroutine[None, None, None]) -> None:
    asyncio.run(work)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that bcrypt has seen."""
    seen: list[bytes] = []

    def is_right(password: bytes, entry: str) -> bool:
        seen.append(password)
        return right(password, entry)

    monkeypatch.setattr("httpapi.identity.logins.is_right", is_right)
    return seen


def test_a_right_password_is_checked_once_and_remembered_for_a_while(checked: list[bytes], clock: Clock) -> None:
    async def scenario() -> None:
        logins = Logins(clock)
        for _ in range(3):
            assert await logins.check("alice", b"right", HASH, HERE)
        assert len(checked) == 1
        assert b"right" not in repr(vars(logins._right)).encode()
        # Another user, password or entry is another login.
        assert await logins.check("bob", b"right", HASH, HERE)
        assert not await logins.check("alice", b"right", hash_of("other", cost=4), HERE)
        assert len(checked) == 3
        clock.at += REMEMBER_SECONDS
        assert await logins.check("alice", b"right", HASH, HERE)
        assert len(checked) == 4

    run(scenario())


def test_many_requests_with_one_login_at_once_are_one_check(checked: list[bytes]) -> None:
    async def scenario() -> None:
        logins = Logins()
        assert await asyncio.gather(*(logins.check("a", b"right", HASH, HERE) for _ in range(50))) == [True] * 50
        assert len(checked) == 1

    run(scenario())


def test_who_gives_up_takes_the_answer_from_nobody_else() -> None:
    async def scenario() -> None:
        logins = Logins()
        first = asyncio.create_task(logins.check("a", b"right", HASH, HERE))
        second = asyncio.create_task(logins.check("a", b"right", HASH, HERE))
        await asyncio.sleep(0)
        first.cancel()
        assert await second

    run(scenario())


def test_guesses_are_stopped_and_a_remembered_login_goes_on(checked: list[bytes], clock: Clock) -> None:
    async def scenario() -> None:
        logins = Logins(clock)
        assert await logins.check("alice", b"right", HASH, HERE)
        answers = await asyncio.gather(
            *(logins.check("alice", b"guess%d" % number, HASH, HERE) for number in range(20)), return_exceptions=True
        )
        assert answers[:PER_USER_AND_ADDRESS] == [False] * PER_USER_AND_ADDRESS
        assert all(isinstance(answer, TooManyLogins) for answer in answers[PER_USER_AND_ADDRESS:])
        assert len(checked) == 1 + PER_USER_AND_ADDRESS
        assert await logins.check("alice", b"right", HASH, HERE)
        assert await logins.check("alice", b"right", HASH, THERE)

    run(scenario())


def test_a_flood_from_everywhere_is_told_to_wait_and_the_queue_stays_short(checked: list[bytes]) -> None:
    async def scenario() -> None:
        logins = Logins()
        tries = (logins.check("alice", b"%d" % number, HASH, f"10.0.0.{number}") for number in range(40))
        answers = await asyncio.gather(*tries, return_exceptions=True)
        assert answers.count(False) == MOST_WAITING
        assert sum(isinstance(answer, IdentityBusy) for answer in answers) == 40 - MOST_WAITING
        # Who was told to wait has not failed.
        assert await logins.check("alice", b"right", HASH, "10.0.0.39")

    run(scenario())


def test_failures_in_a_known_place_are_forgotten_too(limits: LoginLimits, clock: Clock) -> None:
    limits.begin("alice", HERE).succeeded()
    for _ in range(1000):
        limits.begin("alice", HERE)
        clock.at += 20
    assert max(map(len, limits._tries.values())) <= PER_USER


def test_a_login_in_use_is_not_locked_out_by_guesses_from_its_own_address(checked: list[bytes], clock: Clock) -> None:
    async def scenario() -> None:
        logins = Logins(clock)
        assert await logins.check("alice", b"right", HASH, HERE)
        for number in range(int(2 * REMEMBER_SECONDS / 10)):
            await asyncio.gather(logins.check("alice", b"stale%d" % number, HASH, HERE), return_exceptions=True)
            assert await logins.check("alice", b"right", HASH, HERE)
            clock.at += 10
        assert checked.count(b"right") == 1

    run(scenario())
