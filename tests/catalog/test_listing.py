from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from catalog import policy
from catalog.limits import Limits
from catalog.model.errors import Forbidden, Invalid
from catalog.model.image import Image, Status, Visibility
from catalog.model.member import Member, MemberStatus
from catalog.model.new_image import NewImage
from catalog.sql import listing
from catalog.usecases import images
from catalog.usecases.queries import parse_query
from tests.catalog.cast import ADMIN, ANNA, BORIS, NOBODY, RAW, names_listed, one_of_each_visibility, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.model.caller import Caller
    from catalog.ports import UnitOfWork
    from catalog.sql.database import SqlDatabase
    from catalog.usecases.services import Services

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


def some_images(count: int) -> list[Image]:
    """Images that agree in much, so that orders have ties, and lack much, so that they have gaps."""
    draw = random.Random(7)
    return [
        Image(
            id=f"{draw.getrandbits(32):08x}-0000-4000-8000-{number:012x}",
            owner=draw.choice(["wall", "hedge", None]),
            created_at=(made := START + timedelta(seconds=draw.randrange(5))),
            updated_at=made + timedelta(seconds=draw.randrange(5)),
            name=draw.choice(["a", "b", "B", "é", "", None]),
            status=draw.choice([Status.QUEUED, Status.ACTIVE]),
            visibility=draw.choice(list(Visibility)),
            os_hidden=draw.random() < 0.1,
            disk_format=draw.choice(["raw", "qcow2", None]),
            container_format=draw.choice(["bare", None]),
            size=draw.choice([0, 5, 2**40, None]),
            properties={"os_distro": draw.choice(["debian", "alma"])},
            tags=frozenset(draw.sample(["x", "y", "z"], draw.randrange(3))),
        )
        for number in range(count)
    ]


async def keep(database: SqlDatabase, made: list[Image]) -> None:
    def add_all(uow: UnitOfWork) -> None:
        for image in made:
            uow.images.add(image)

    await database.write(add_all)


async def shared(database: SqlDatabase, made: list[Image]) -> list[Image]:
    """These images, kept, some of them with members: wall has accepted every second of its."""
    draw = random.Random(8)
    made = [replace(image, members=frozenset(draw.sample(["wall", "moor"], draw.randrange(3)))) for image in made]

    def share(uow: UnitOfWork) -> None:
        for number, image in enumerate(made):
            for project in image.members:
                status = MemberStatus.ACCEPTED if number % 2 else MemberStatus.PENDING
                uow.members.add(
                    image, Member(image_id=image.id, id=project, created_at=START, updated_at=START, status=status)
                )

    await keep(database, made)
    await database.write(share)
    ACCEPTED.clear()
    ACCEPTED.update(image.id for image in made[1::2] if "wall" in image.members)
    return made


ACCEPTED: set[str] = set()


def sees(image: Image) -> bool:
    mine = image.owner == "wall" or image.visibility is Visibility.PUBLIC
    return mine or (image.visibility is Visibility.SHARED and image.id in ACCEPTED)


async def paged(services: Services, caller: Caller, pairs: list[tuple[str, str]], size: int) -> list[Image]:
    """All pages of a listing, one after the other."""
    found: list[Image] = []
    more = True
    while more:
        marker = [("marker", found[-1].id)] if found else []
        page = await images.list_images(services, caller, parse_query([*pairs, *marker, ("limit", str(size))]))
        assert len(page.images) == size or not page.more
        found.extend(page.images)
        more = page.more
    return found


@pytest.fixture(params=["few images are few", "none are"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What leads to a page's images: conditions that hold for few, or indexes in order."""
    if request.param == "none are":
        monkeypatch.setattr(listing, "_FEW_AT_LEAST", -20_000)


def in_order(made: list[Image], sort: str) -> list[str]:
    """The ids in the order that the listing promises, by Python's own sort."""
    order = parse_query([("sort", sort)]).sort
    rows = list(made)
    for each in reversed(order):
        rows.sort(key=_by(each.key), reverse=each.descending)
    return [image.id for image in rows]


def _by(key: str) -> Callable[[Image], tuple[bool, Any]]:
    def place(image: Image) -> tuple[bool, Any]:
        value = getattr(image, key)
        return (value is not None, value.encode() if isinstance(value, str) else value)

    return place


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    "sort",
    [
        "created_at:desc", "created_at:asc", "name:asc", "name:desc", "size:asc", "size:desc", "status:asc,size:desc",
        "disk_format:desc,container_format:asc,name:desc", "updated_at:asc,name:desc", "id:asc",
    ],
)  # fmt: skip
def test_pages_follow_each_other_without_gap_or_repetition_in_every_order(
    services: Services, database: SqlDatabase, sort: str
) -> None:
    async def scene() -> None:
        made = await shared(database, some_images(60))
        for caller, seen in (
            (ADMIN, made),
            (ANNA, [image for image in made if sees(image)]),
        ):
            found = await paged(services, caller, [("sort", sort)], 7)
            assert [image.id for image in found] == in_order([each for each in seen if not each.os_hidden], sort)
            # Of the members a page tells the caller's project alone.
            mine = {each.id: replace(each, members=each.members & {caller.project}) for each in seen}
            assert {image.id: image for image in found} == {
                each.id: mine[each.id] for each in seen if not each.os_hidden
            }

    asyncio.run(scene())


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("pairs", "fits"),
    [
        ([("name", "a")], lambda image: image.name == "a"),
        ([("name", "in:a,b")], lambda image: image.name in {"a", "b"}),
        ([("name", "in:")], lambda _: False),
        ([("tag", "x"), ("tag", "y")], lambda image: {"x", "y"} <= image.tags),
        ([("os_distro", "debian")], lambda image: image.properties["os_distro"] == "debian"),
        ([("os_distro", "debian"), ("unknown", "")], lambda _: False),
        ([("status", "active")], lambda image: image.status is Status.ACTIVE),
        ([("visibility", "community")], lambda image: image.visibility is Visibility.COMMUNITY),
        ([("owner", "hedge")], lambda image: image.owner == "hedge"),
        ([("disk_format", "in:raw,qcow2")], lambda image: image.disk_format is not None),
        ([("size_min", "5")], lambda image: image.size is not None and image.size >= 5),
        ([("size_max", "5"), ("size_min", "1")], lambda image: image.size == 5),
        ([("size", "0")], lambda image: image.size == 0),
        ([("protected", "true")], lambda _: False),
        ([("created_at", "gt:2026-11-22T12:00:02Z")], lambda image: image.created_at > START + timedelta(seconds=2)),
        ([("created_at", "neq:2026-11-22T12:00:02Z")], lambda image: image.created_at != START + timedelta(seconds=2)),
        ([("updated_at", "2026-11-22T12:00:02Z")], lambda image: image.updated_at == START + timedelta(seconds=2)),
        ([("member_status", "all")], lambda _: True),
    ],
)
def test_filters_give_exactly_the_images_that_fit(
    services: Services, database: SqlDatabase, pairs: list[tuple[str, str]], fits: Any
) -> None:
    async def scene() -> None:
        made = some_images(60)
        await keep(database, made)
        for order in ("created_at:desc", "size:asc", "name:desc,size:asc"):
            found = await paged(services, ADMIN, [*pairs, ("sort", order)], 9)
            fitting = [each for each in made if not each.os_hidden and fits(each)]
            assert [image.id for image in found] == in_order(fitting, order)

    asyncio.run(scene())


def test_everybody_lists_what_they_may(services: Services) -> None:
    async def scene() -> None:
        await one_of_each_visibility(services)
        await images.create(services, ANNA, NewImage(name="own", visibility=Visibility.COMMUNITY))
        listed = {
            None: {"own", "public"},
            "all": {"own", "public", "community"},
            "public": {"public"},
            "community": {"own", "community"},
            "shared": set(),
            "private": set(),
        }
        for visibility, expected in listed.items():
            pairs = [] if visibility is None else [("visibility", visibility)]
            assert set(await names_listed(services, ANNA, *pairs)) == expected, visibility
        assert set(await names_listed(services, BORIS)) == {"public", "community", "shared", "private"}
        assert len(await names_listed(services, ADMIN)) == 5
        with pytest.raises(Forbidden):
            await names_listed(services, NOBODY)

    asyncio.run(scene())


def test_hidden_images_are_listed_only_when_asked_for(services: Services) -> None:
    async def scene() -> None:
        await images.create(services, ANNA, replace(RAW, name="shown"))
        await images.create(services, ANNA, replace(RAW, name="hidden", os_hidden=True))
        assert await names_listed(services, ANNA) == ["shown"]
        assert await names_listed(services, ANNA, ("os_hidden", "True")) == ["hidden"]

    asyncio.run(scene())


def test_the_newest_image_comes_first_and_limits_cut(services: Services) -> None:
    async def scene() -> None:
        for number in range(3):
            await images.create(services, ANNA, replace(RAW, name=str(number)))
        assert await names_listed(services, ANNA) == ["2", "1", "0"]
        page = await images.list_images(services, ANNA, parse_query([("limit", "2")]))
        assert (len(page.images), page.more) == (2, True)
        page = await images.list_images(services, ANNA, parse_query([("limit", "3")]))
        assert (len(page.images), page.more) == (3, False)
        page = await images.list_images(services, ANNA, parse_query([("limit", "0")]))
        assert (page.images, page.more) == ((), False)

    asyncio.run(scene())


def test_a_marker_that_the_caller_cannot_see_is_invalid(services: Services) -> None:
    async def scene() -> None:
        others = await one_of_each_visibility(services)
        for marker in (others["private"].id, "6e0acd3c-0001-4fff-8fff-0123456789ab", "disk", ""):
            with pytest.raises(Invalid, match="marker"):
                await names_listed(services, ANNA, ("marker", marker))
        await names_listed(services, ANNA, ("marker", others["public"].id))

    asyncio.run(scene())


def test_created_at_is_found_again_by_the_second_that_clients_are_shown(services: Services) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        assert made.created_at.microsecond != 0
        shown = made.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert await names_listed(services, ANNA, ("created_at", shown)) == ["disk"]
        assert await names_listed(services, ANNA, ("created_at", f"neq:{shown}")) == []

    asyncio.run(scene())


def heavy_images(count: int, weight: int) -> list[Image]:
    """Images with a property of so many bytes, in characters of two bytes."""
    return [
        replace(image, os_hidden=False, properties={"key": "ä" * (weight // 2)}, tags=frozenset({"tag"}))
        for image in some_images(count)
    ]


def test_a_page_ends_early_when_its_images_carry_much_text(services: Services, database: SqlDatabase) -> None:
    async def scene() -> None:
        made = heavy_images(10, 50_000)
        await keep(database, made)
        found: list[Image] = []
        lengths: list[int] = []
        more = True
        while more:
            marker = [("marker", found[-1].id)] if found else []
            page = await images.list_images(services, ADMIN, parse_query(marker, Limits(page_bytes=200_000)))
            found.extend(page.images)
            lengths.append(len(page.images))
            more = page.more
        assert lengths == [3, 3, 3, 1]
        assert {image.id: image for image in found} == {image.id: image for image in made}

    asyncio.run(scene())


def test_an_image_with_more_text_than_a_page_is_a_page_of_its_own(services: Services, database: SqlDatabase) -> None:
    async def scene() -> None:
        await keep(database, heavy_images(3, 50_000))
        query = parse_query([], Limits(page_bytes=1))
        page = await images.list_images(services, ADMIN, query)
        assert (len(page.images), page.more) == (1, True)
        last = await images.list_images(
            services, ADMIN, replace(query, marker=in_order(heavy_images(3, 50_000), "created_at")[1])
        )
        assert (len(last.images), last.more) == (1, False)

    asyncio.run(scene())


@pytest.mark.parametrize("caller", [ANNA, ADMIN])
@pytest.mark.parametrize("name", ["key{}", "tag", "size_min"])
def test_as_many_filters_as_are_taken_can_be_asked(services: Services, caller: Caller, name: str) -> None:
    pairs = [(name.format(number), str(number)) for number in range(128)]
    assert asyncio.run(names_listed(services, caller, *pairs)) == []


def test_bytes_and_hashes_are_filters_too(services: Services) -> None:
    async def scene() -> None:
        made = await put(services, await images.create(services, ANNA, RAW), b"bytes")
        for key in ("checksum", "os_hash_value", "os_hash_algo", "size", "virtual_size", "id"):
            assert await names_listed(services, ANNA, (key, str(getattr(made, key)))) == ["disk"], key
        assert await names_listed(services, ANNA, ("checksum", "0" * 32)) == []

    asyncio.run(scene())


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ("'public':%(visibility)s", lambda image: image.visibility is Visibility.PUBLIC),
        ("role:admin or not 'queued':%(status)s", lambda image: image.status is not Status.QUEUED),
        ("'a':%(name)s", lambda image: image.name == "a"),
        ("!", lambda _: False),
    ],
)
def test_where_a_policy_hides_more_each_image_of_a_list_is_judged_and_no_page_lost(
    services: Services, database: SqlDatabase, rule: str, size: int, fits: Any
) -> None:
    async def scene() -> None:
        made = await shared(database, some_images(60))
        seen = [image for image in made if sees(image) and fits(image) and not image.os_hidden]
        anna = replace(ANNA, rules=policy.rules_with({"get_image": rule}))
        found: list[Image] = []
        more = True
        while more:
            marker = [("marker", found[-1].id)] if found else []
            page = await images.list_images(services, anna, parse_query([*marker, ("limit", str(size))]))
            assert len(page.images) <= size
            assert page.images or not page.more
            found.extend(page.images)
            more = page.more
        assert [image.id for image in found] == in_order(seen, "created_at")

    asyncio.run(scene())
