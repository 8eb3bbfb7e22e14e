"""Lists of tasks and of deleted images under a policy that hides some of them: each is judged, and no page is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog import policy
from catalog.model.deleted import KeptQuery
from catalog.model.errors import Invalid
from catalog.model.task import COALESCE, HASH, NOBODY, TaskQuery, image_task
from catalog.usecases import images, tasks
from catalog.usecases.deleted_images import list_kept
from catalog.usecases.judging import LARGEST_PAGE, MOST_PAGES, judged
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, put

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from catalog.model.caller import Caller
    from catalog.usecases.services import Services


def under(caller: Caller, **given: str) -> Caller:
    return replace(caller, rules=policy.rules_with(given))


def numbers(count: int, asked: list[tuple[int | None, int]]) -> Callable[[int | None, int], tuple[Sequence[int], bool]]:
    """Pages of the numbers below `count`; what is asked for is added to `asked`."""

    def page_behind(last: int | None, size: int) -> tuple[Sequence[int], bool]:
        asked.append((last, size))
        first = 0 if last is None else last + 1
        return range(first, min(first + size, count)), first + size < count

    return page_behind


def test_a_page_that_has_nothing_left_is_followed_by_the_first_that_has() -> None:
    asked: list[tuple[int | None, int]] = []
    page_behind = numbers(30, asked)
    assert judged(page_behind, lambda number: number in {7, 8}, None, 3) == ((7, 8), True)
    assert asked == [(None, 3), (2, 12)]
    assert judged(page_behind, lambda number: number in {7, 8}, 8, 3) == ((), False)
    assert judged(page_behind, lambda _: False, None, 3) == ((), False)
    assert judged(lambda _, __: ((), False), lambda _: True, None, 3) == ((), False)


def test_a_larger_page_behind_hidden_ones_is_cut_to_what_was_asked_for() -> None:
    page_behind = numbers(15, [])
    assert judged(page_behind, lambda number: number > 5, None, 3) == ((6, 7, 8), True)
    assert judged(page_behind, lambda number: number > 11, None, 3) == ((12, 13, 14), False)
    assert judged(page_behind, lambda number: number > 10, None, 3) == ((11, 12, 13), True), "all were looked at"


def test_one_request_looks_at_so_many_pages_and_not_at_all_that_is_hidden() -> None:
    for limit in (1, 25, 1000):
        asked: list[tuple[int | None, int]] = []
        with pytest.raises(Invalid, match="filters"):
            judged(numbers(10**9, asked), lambda _: False, None, limit)
        assert len(asked) == MOST_PAGES
        assert 10_000 < sum(size for _, size in asked) <= MOST_PAGES * LARGEST_PAGE


def test_tasks_that_a_rule_hides_are_in_no_list(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        made = [
            image_task(kind, image_id=image.id, owner="wall", by=NOBODY, at=services.clock())
            for kind in (HASH, COALESCE, COALESCE, HASH, COALESCE)
        ]
        for task in made:
            await services.database.write(lambda uow, task=task: uow.tasks.add(task))  # type: ignore[misc]  # this one
        for caller in (ANNA, ADMIN):
            told = under(caller, get_task="'hash':%(type)s and rule:owners_reader")
            first = await tasks.list_tasks(services, told, TaskQuery(limit=2))
            assert ([task.id for task in first.tasks], first.more) == ([made[3].id], True)
            second = await tasks.list_tasks(services, told, TaskQuery(limit=2, marker=made[3].id))
            assert [task.id for task in second.tasks] == [made[0].id]
        everything = await tasks.list_tasks(services, under(BORIS, get_task="@"), TaskQuery())
        assert everything.tasks == (), "others' tasks are out of reach"

    asyncio.run(scene())


def test_deleted_images_that_a_rule_hides_are_in_no_list(services: Services) -> None:
    async def scene() -> None:
        keeping = replace(services, keep_deleted=3600.0)
        for caller in (ANNA, BORIS):
            image = await put(keeping, await images.create(keeping, caller, RAW), b"bytes", caller=caller)
            await images.delete(keeping, caller, image.id)
        assert len((await list_kept(keeping, ADMIN, KeptQuery())).images) == 2
        told = under(ADMIN, get_deleted_image="'wall':%(owner)s")
        assert [kept.owner for kept in (await list_kept(keeping, told, KeptQuery(limit=1))).images] == ["wall"]
        assert (await list_kept(keeping, under(ANNA, get_deleted_image="!"), KeptQuery())).images == ()

    asyncio.run(scene())
