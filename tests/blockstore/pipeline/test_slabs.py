from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule

from blockstore.pipeline.slabs import Slab, SlabPool, SlabShare

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB = 1024


def admitted(pool: SlabPool, size: int, **limits: int) -> SlabShare:
    share = pool.admit(size, **limits)
    assert share is not None
    return share


def taken(share: SlabShare) -> Slab:
    slab = share.acquire()
    assert slab is not None
    return slab


def in_memory(pool: SlabPool, out: int) -> int:
    """Bytes that the pool's buffers occupy: those that are out, and those that are kept for the next."""
    return out + sum(size * len(buffers) for size, buffers in pool._idle.items())


class Uploads(RuleBasedStateMachine):
    """Uploads of several sizes come, take, give back and go in any order."""

    shares: Bundle[SlabShare] = Bundle("shares")
    slabs: Bundle[tuple[SlabShare, Slab]] = Bundle("slabs")

    def __init__(self) -> None:
        super().__init__()
        self.pool = SlabPool(64 * KIB)
        self.open: list[SlabShare] = []
        self.out: dict[int, int] = {}

    @rule(
        target=shares,
        size=st.sampled_from([1 * KIB, 4 * KIB, 16 * KIB]),
        sure=st.integers(1, 3),
        more=st.integers(0, 6),
    )
    def admit(self, size: int, sure: int, more: int) -> SlabShare | MultipleResults[SlabShare]:
        promised, taken = self.pool._promised, self.pool.taken
        share = self.pool.admit(size, sure=sure, most=sure + more)
        if share is None:
            assert taken
            assert promised + sure * size > self.pool.budget // 2
            return multiple()
        self.open.append(share)
        return share

    @rule(target=slabs, share=shares)
    def acquire(self, share: SlabShare) -> tuple[SlabShare, Slab] | MultipleResults[tuple[SlabShare, Slab]]:
        held = share.held
        slab = share.acquire()
        if slab is None:
            assert share.closed or held >= share.sure, "a sure slab is always there"
            return multiple()
        assert not share.closed
        assert held < share.most
        assert len(slab.view) == share.size
        self.out[id(slab)] = share.size
        return (share, slab)

    @rule(taken=consumes(slabs))
    def drop(self, taken: tuple[SlabShare, Slab]) -> None:
        taken[1].drop()
        del self.out[id(taken[1])]

    @rule(share=consumes(shares))
    def close(self, share: SlabShare) -> None:
        share.close()
        share.close()
        self.open.remove(share)

    @invariant()
    def the_budget_is_never_exceeded(self) -> None:
        held = sum(self.out.values())
        promised = sum(max(0, share.sure - share.held) * share.size for share in self.open)
        assert self.pool.taken == held + promised
        assert self.pool.taken <= self.pool.budget

    @invariant()
    def what_is_kept_for_later_is_in_the_budget_too(self) -> None:
        assert in_memory(self.pool, sum(self.out.values())) <= self.pool.budget


TestUploads = Uploads.TestCase
Uploads.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.fixture
def pool() -> Iterator[SlabPool]:
    made = SlabPool(16 * KIB)
    yield made
    assert made.taken == 0, "everything was given back"


def test_a_share_is_sure_of_its_slabs_whatever_others_take(pool: SlabPool) -> None:
    first, greedy = admitted(pool, KIB, sure=2, most=8), admitted(pool, KIB, sure=2, most=100)
    theirs = []
    while (slab := greedy.acquire()) is not None:
        theirs.append(slab)
    mine = [taken(first), taken(first)]
    assert first.acquire() is None, "what may be lent is lent"
    assert pool.taken == 4 * KIB + pool.budget // 2
    admitted(pool, KIB, sure=2).close()  # who comes now is sure of its slabs all the same
    for slab in [*mine, *theirs]:
        slab.drop()
    first.close()
    greedy.close()


def test_a_share_gets_no_more_than_its_most(pool: SlabPool) -> None:
    share = admitted(pool, KIB, sure=1, most=3)
    slabs = [taken(share) for _ in range(3)]
    assert share.acquire() is None
    slabs.pop().drop()
    slabs.append(taken(share))
    for slab in slabs:
        slab.drop()
    share.close()


def test_nobody_is_admitted_whom_the_budget_cannot_be_sure_of(pool: SlabPool) -> None:
    shares = [admitted(pool, 2 * KIB, sure=2) for _ in range(2)]
    assert pool.admit(2 * KIB, sure=2) is None
    shares.pop().close()
    shares.append(admitted(pool, 2 * KIB, sure=2))
    for share in shares:
        share.close()


def test_a_share_that_is_larger_than_the_budget_is_admitted_alone(pool: SlabPool) -> None:
    small = admitted(pool, KIB)
    assert pool.admit(12 * KIB, sure=2) is None
    small.close()
    huge = admitted(pool, 12 * KIB, sure=2)
    assert pool.admit(KIB) is None
    slabs = [taken(huge), taken(huge)]
    assert huge.acquire() is None
    for slab in slabs:
        slab.drop()
    huge.close()


def test_whoever_waits_is_called_once_when_something_is_given_back(pool: SlabPool) -> None:
    share = admitted(pool, KIB, sure=1, most=1)
    slab = taken(share)
    calls: list[int] = []
    pool.when_free(lambda: calls.append(1))
    pool.when_free(lambda: calls.append(2))
    assert calls == []
    slab.drop()
    assert calls == [1, 2]
    taken(share).drop()
    assert calls == [1, 2]
    pool.when_free(lambda: calls.append(3))
    share.close()
    assert calls == [1, 2, 3]


def test_whoever_is_called_may_take_at_once(pool: SlabPool) -> None:
    share = admitted(pool, 16 * KIB, sure=1, most=1)
    slab = taken(share)
    got: list[Slab] = []
    pool.when_free(lambda: got.append(taken(share)))
    slab.drop()
    assert len(got) == 1
    got[0].drop()
    share.close()


def test_slabs_that_are_out_come_back_after_their_share_was_closed(pool: SlabPool) -> None:
    share = admitted(pool, KIB, sure=2, most=4)
    slabs = [taken(share) for _ in range(3)]
    share.close()
    assert pool.taken == 3 * KIB
    for left, slab in zip((2, 1, 0), slabs, strict=True):
        slab.drop()
        assert pool.taken == left * KIB


def test_a_closed_share_gives_no_slab(pool: SlabPool) -> None:
    share = admitted(pool, KIB)
    share.close()
    assert share.acquire() is None


def test_a_slab_comes_back_after_its_last_user(pool: SlabPool) -> None:
    share = admitted(pool, KIB, sure=1, most=1)
    slab = taken(share)
    slab.share_with(2)
    slab.drop()
    slab.drop()
    assert share.acquire() is None
    slab.drop()
    taken(share).drop()
    share.close()


def test_buffers_are_used_again(pool: SlabPool) -> None:
    share = admitted(pool, KIB, sure=1, most=1)
    slab = taken(share)
    slab.view[0] = 7
    slab.drop()
    again = taken(share)
    assert again.view[0] == 7, "the same memory, whose first touch was paid for"
    assert again.head == 0
    again.drop()
    share.close()


def test_room_in_the_place_of_reserved_slabs_is_used_again(pool: SlabPool) -> None:
    share = admitted(pool, KIB)
    assert share.reserve(2) == 2
    room = share.room(2 * KIB)
    share.release(2, room)
    assert share.reserve(2) == 2
    again = share.room(2 * KIB)
    assert again is room
    share.release(2, again)
    share.close()


def test_memory_stays_in_the_budget_when_uploads_of_one_size_follow_those_of_another(pool: SlabPool) -> None:
    chance = random.Random(3)
    for size in (KIB, 4 * KIB, KIB, 8 * KIB, 2 * KIB):
        share = admitted(pool, size, sure=2, most=100)
        slabs = []
        while (slab := share.acquire()) is not None:
            slabs.append(slab)
        assert in_memory(pool, len(slabs) * size) <= pool.budget
        chance.shuffle(slabs)
        for slab in slabs:
            slab.drop()
        share.close()


def test_idle_buffers_can_be_let_go_and_those_in_use_stay() -> None:
    pool = SlabPool(64 * KIB)
    share = admitted(pool, 4 * KIB)
    first, second = taken(share), taken(share)
    first.view[:4] = second.view[:4] = b"kept"
    first.drop()
    pool.let_go()
    assert bytes(taken(share).view[:4]) == bytes(4)
    assert bytes(second.view[:4]) == b"kept"
    assert pool.taken == 8 * KIB
