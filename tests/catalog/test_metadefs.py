"""Metadata definitions: namespaces and what they have, made, changed and taken away as wholes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.limits import Limits
from catalog.metadefs import kinds
from catalog.metadefs.kinds import KINDS
from catalog.metadefs.reading import read_namespace, read_part, read_tags
from catalog.metadefs.rules import JUDGE_NAMESPACES
from catalog.model.errors import Conflict, Forbidden, Invalid, LimitExceeded, NotFound, ReadOnlyAttribute
from catalog.model.metadef import Kind
from catalog.policy import rules_with
from catalog.usecases import metadef_parts, namespaces
from catalog.usecases.metadef_queries import parse_namespace_query, parse_page
from tests.catalog.cast import ADMIN, ANNA, BORIS, NOBODY, READER, Clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from catalog.model.caller import Caller
    from catalog.model.metadef import Whole
    from catalog.usecases.services import Services

TITLE = {"title": "Title", "type": "string"}
CPU: dict[str, Any] = {
    "namespace": "CPU",
    "visibility": "public",
    "owner": "wall",
    "properties": {"cores": {"title": "Cores", "type": "integer", "default": 2}, "model": TITLE},
    "objects": [{"name": "socket", "required": ["cores"], "properties": {"cores": TITLE}}],
    "tags": [{"name": "fast"}, {"name": "slow"}],
    "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_"}, {"name": "OS::Nova::Flavor"}],
}
NOW = Clock()()


def run(*acts: Callable[[], Awaitable[object]]) -> None:
    async def scene() -> None:
        for act in acts:
            await act()

    asyncio.run(scene())


def names(whole: Whole, kind: Kind) -> list[str]:
    return [part.name for part in whole.parts[kind]]


async def listed(services: Services, caller: Caller, query: str = "") -> list[str]:
    pairs = [tuple(each.split("=")) for each in query.split("&") if each]
    asked = parse_namespace_query(pairs, services.limits)  # type: ignore[arg-type]  # each has two
    return [each.namespace.name for each in (await namespaces.list_namespaces(services, caller, asked))[0]]


async def new(services: Services, name: str, **said: object) -> None:
    await namespaces.create(services, ADMIN, {"namespace": name, **said})


def test_a_namespace_is_made_with_all_that_it_has_and_shown_so(services: Services) -> None:
    async def scene() -> None:
        made = await namespaces.create(services, ADMIN, CPU)
        found = await namespaces.show(services, ANNA, "CPU")
        assert made == found
        assert (found.namespace.owner, found.namespace.visibility) == ("wall", "public")
        assert names(found, Kind.PROPERTIES) == ["cores", "model"]
        assert names(found, Kind.TAGS) == ["slow", "fast"]
        assert names(found, Kind.ASSOCIATIONS) == ["OS::Glance::Image", "OS::Nova::Flavor"]
        assert found.parts[Kind.PROPERTIES][0].content["default"] == "2"
        assert [each.name for each in await namespaces.list_resource_types(services, READER)] == names(
            found, Kind.ASSOCIATIONS
        )

    asyncio.run(scene())


@pytest.mark.parametrize(
    "twice",
    [
        {"tags": [{"name": "a"}, {"name": "a"}]},
        {"objects": [{"name": "a"}, {"name": "a"}]},
        {"resource_type_associations": [{"name": "type"}, {"name": "type"}]},
    ],
)
def test_of_a_namespace_that_is_refused_nothing_is_left(services: Services, twice: dict[str, object]) -> None:
    async def scene() -> None:
        with pytest.raises(Conflict):
            await namespaces.create(services, ADMIN, {**CPU, **twice})
        with pytest.raises(NotFound):
            await namespaces.show(services, ADMIN, "CPU")
        assert not await namespaces.list_resource_types(services, ADMIN)
        await namespaces.create(services, ADMIN, CPU)
        with pytest.raises(Conflict, match="CPU"):
            await namespaces.create(services, ADMIN, {"namespace": "CPU"})
        await new(services, "cpu")

    asyncio.run(scene())


def test_a_new_name_takes_along_what_the_namespace_has(services: Services) -> None:
    async def scene() -> None:
        before = await namespaces.create(services, ADMIN, CPU)
        await new(services, "taken")
        with pytest.raises(Conflict):
            await namespaces.change(services, ADMIN, "CPU", {"namespace": "taken"})
        changed = await namespaces.change(services, ADMIN, "CPU", {"namespace": "processor", "owner": "wall"})
        assert (changed.visibility, changed.display_name, changed.created_at) == (
            "private", None, before.namespace.created_at,
        )  # fmt: skip
        assert changed.updated_at > changed.created_at
        after = await namespaces.show(services, ANNA, "processor")
        assert after.parts == before.parts
        with pytest.raises(NotFound):
            await namespaces.show(services, ADMIN, "CPU")
        assert await listed(services, ADMIN, "resource_types=OS::Glance::Image") == ["processor"]

    asyncio.run(scene())


def test_a_namespace_goes_with_all_that_it_has_and_types_of_resources_stay(services: Services) -> None:
    async def scene() -> None:
        await namespaces.create(services, ADMIN, CPU)
        await namespaces.delete(services, ADMIN, "CPU")
        assert len(await namespaces.list_resource_types(services, ADMIN)) == 2
        made = await namespaces.create(services, ADMIN, {"namespace": "CPU"})
        assert not any(made.parts.values())
        with pytest.raises(NotFound):
            await namespaces.delete(services, ADMIN, "none")

    asyncio.run(scene())


def test_nothing_of_a_protected_namespace_is_deleted_while_it_can_be_added_to(services: Services) -> None:
    async def scene() -> None:
        await namespaces.create(services, ADMIN, {**CPU, "protected": True})
        for kind, name in (
            (Kind.TAGS, "fast"), (Kind.OBJECTS, "socket"), (Kind.PROPERTIES, "cores"),
            (Kind.ASSOCIATIONS, "OS::Nova::Flavor"),
        ):  # fmt: skip
            with pytest.raises(Forbidden, match="protected"):
                await metadef_parts.remove(services, ADMIN, "CPU", kind, name)
            if kind is not Kind.ASSOCIATIONS:
                with pytest.raises(Forbidden, match="protected"):
                    await metadef_parts.clear(services, ADMIN, "CPU", kind)
        with pytest.raises(Forbidden, match="protected"):
            await namespaces.delete(services, ADMIN, "CPU")
        with pytest.raises(Forbidden, match="protected"):
            await metadef_parts.add_tags(services, ADMIN, "CPU", {"tags": []}, append=False)
        await metadef_parts.add_tags(services, ADMIN, "CPU", {"tags": [{"name": "new"}]}, append=True)
        await metadef_parts.change(services, ADMIN, "CPU", Kind.TAGS, "new", {"name": "newer"})
        assert names(await namespaces.show(services, ANNA, "CPU"), Kind.TAGS) == ["newer", "slow", "fast"]
        await namespaces.change(services, ADMIN, "CPU", {"namespace": "CPU"})
        await namespaces.delete(services, ADMIN, "CPU")

    asyncio.run(scene())


def test_tags_take_the_place_of_others_or_come_beside_them_all_or_none(services: Services) -> None:
    async def scene() -> None:
        await namespaces.create(services, ADMIN, CPU)

        async def told(page: str = "") -> list[str]:
            pairs = [(name, value) for name, _, value in (each.partition("=") for each in page.split("&") if each)]
            asked = parse_page(pairs, services.limits)
            return [each.name for each in await metadef_parts.list_parts(services, ANNA, "CPU", Kind.TAGS, asked)]

        with pytest.raises(Conflict):
            await metadef_parts.add_tags(
                services, ADMIN, "CPU", {"tags": [{"name": "new"}, {"name": "fast"}]}, append=True
            )
        with pytest.raises(Conflict):
            await metadef_parts.add_tags(
                services, ADMIN, "CPU", {"tags": [{"name": "new"}, {"name": "new"}]}, append=False
            )
        assert await told() == ["slow", "fast"]
        await metadef_parts.add_tags(services, ADMIN, "CPU", {"tags": [{"name": "b"}, {"name": "a"}]}, append=False)
        await metadef_parts.add_tags(services, ADMIN, "CPU", {"tags": [{"name": "c"}]}, append=True)
        assert await told() == ["c", "a", "b"]
        assert await told("sort_key=name&sort_dir=asc") == ["a", "b", "c"]
        assert await told("limit=1") == ["c"]
        assert await told("limit=1&marker=c") == ["a"]
        assert await told("marker=b") == []
        with pytest.raises(NotFound):
            await told("marker=none")
        for wrong in ("limit=x", "limit=-1", "sort_key=none", "sort_dir=up"):
            with pytest.raises(Invalid):
                await told(wrong)

    asyncio.run(scene())


def test_on_a_type_of_resource_properties_have_its_prefix_in_objects_too(services: Services) -> None:
    async def scene() -> None:
        await namespaces.create(services, ADMIN, CPU)
        found = await namespaces.show(services, ANNA, "CPU", "OS::Glance::Image")
        assert names(found, Kind.PROPERTIES) == ["hw_cores", "hw_model"]
        [socket] = found.parts[Kind.OBJECTS]
        assert (socket.content["required"], list(socket.content["properties"])) == (["hw_cores"], ["hw_cores"])  # type: ignore[call-overload]  # an object
        for other in ("OS::Nova::Flavor", "none", ""):
            assert names(await namespaces.show(services, ANNA, "CPU", other), Kind.PROPERTIES) == ["cores", "model"]

        async def shown(name: str, on: str) -> str:
            return (await metadef_parts.show(services, ANNA, "CPU", Kind.PROPERTIES, name, on)).name

        assert await shown("hw_cores", "OS::Glance::Image") == "cores"
        assert await shown("cores", "OS::Nova::Flavor") == "cores"
        for name, on in (("cores", "OS::Glance::Image"), ("hw_none", "OS::Glance::Image"), ("cores", "none")):
            with pytest.raises(NotFound):
                await shown(name, on)

    asyncio.run(scene())


@pytest.mark.parametrize("kind", Kind)
def test_parts_of_every_kind_are_added_shown_changed_and_removed(services: Services, kind: Kind) -> None:
    said = {"name": "new"} | (TITLE if kind is Kind.PROPERTIES else {})

    async def scene() -> None:
        await namespaces.create(services, ADMIN, CPU)
        made = await metadef_parts.add(services, ADMIN, "CPU", kind, said)
        assert await metadef_parts.show(services, ANNA, "CPU", kind, "new") == made
        with pytest.raises(Conflict, match=KINDS[kind].noun):
            await metadef_parts.add(services, ADMIN, "CPU", kind, said)
        if KINDS[kind].rules.change is not None:
            changed = await metadef_parts.change(services, ADMIN, "CPU", kind, "new", said | {"name": "newer"})
            assert (changed.name, changed.created_at) == ("newer", made.created_at)
            assert await metadef_parts.show(services, ANNA, "CPU", kind, "newer") == changed
            others = await metadef_parts.list_parts(services, ANNA, "CPU", kind)
            first = next(each.name for each in others if each.name != "newer")
            with pytest.raises(Conflict):
                await metadef_parts.change(services, ADMIN, "CPU", kind, "newer", said | {"name": first})
            await metadef_parts.remove(services, ADMIN, "CPU", kind, "newer")
        else:
            await metadef_parts.remove(services, ADMIN, "CPU", kind, "new")
        for name in ("new", "newer"):
            with pytest.raises(NotFound):
                await metadef_parts.show(services, ANNA, "CPU", kind, name)
        with pytest.raises(NotFound):
            await metadef_parts.remove(services, ADMIN, "CPU", kind, "new")
        await metadef_parts.clear(services, ADMIN, "CPU", kind)
        assert not await metadef_parts.list_parts(services, ANNA, "CPU", kind)

    asyncio.run(scene())


def test_lists_have_what_the_caller_sees_in_pages_of_any_order(services: Services) -> None:
    async def scene() -> None:
        for number, name in enumerate(("d", "b", "c", "a")):
            owner, shown = ("wall", "hedge")[number % 2], ("private", "public")[number // 2]
            await new(services, name, owner=owner, visibility=shown, display_name="same" if number else "other")
        assert await listed(services, ADMIN) == ["a", "c", "b", "d"]
        assert await listed(services, ANNA) == ["a", "c", "d"]
        assert await listed(services, BORIS, "visibility=private") == ["b"]
        for key in ("namespace", "display_name", "description", "owner", "visibility", "protected", "id"):
            for way in ("asc", "desc"):
                whole = await listed(services, ADMIN, f"sort_key={key}&sort_dir={way}")
                pages: list[str] = []
                for _ in range(5):
                    after = f"&marker={pages[-1]}" if pages else ""
                    pages += await listed(services, ADMIN, f"limit=1&sort_key={key}&sort_dir={way}{after}")
                assert pages == whole
                assert len(whole) == 4
        with pytest.raises(NotFound):
            await listed(services, ANNA, "marker=b")
        for wrong in ("visibility=shared", "visibility=", "limit=x", "sort_key=other", "sort_dir=up"):
            with pytest.raises(Invalid):
                await listed(services, ADMIN, wrong)
        assert await listed(services, ADMIN, "limit=0") == []
        assert await listed(services, ADMIN, "other=1&limit=1") == ["a"]

    asyncio.run(scene())


def test_who_is_nobody_sees_none_and_who_is_no_admin_changes_none(services: Services) -> None:
    async def scene() -> None:
        await namespaces.create(services, ADMIN, CPU)
        with pytest.raises(Forbidden):
            await listed(services, NOBODY)
        with pytest.raises(Forbidden):
            await namespaces.list_resource_types(services, NOBODY)
        with pytest.raises(NotFound):
            await namespaces.show(services, NOBODY, "CPU")
        with pytest.raises(Forbidden):
            await namespaces.create(services, ANNA, {"namespace": "own"})
        with pytest.raises(Forbidden):
            await namespaces.change(services, ANNA, "CPU", {"namespace": "CPU"})

    asyncio.run(scene())


def test_an_operators_rules_hold_for_each_act(services: Services) -> None:
    def under(caller: Caller, **given: str) -> Caller:
        return replace(caller, rules=rules_with(given))

    async def scene() -> None:
        await namespaces.create(services, ADMIN, CPU)
        await new(services, "secret", visibility="public")
        blind = under(ANNA, get_metadef_namespace="rule:metadef_reader and not 'secret':%(namespace)s")
        assert await listed(services, blind) == ["CPU"]
        with pytest.raises(NotFound):
            await metadef_parts.list_parts(services, blind, "secret", Kind.TAGS)
        no_tags = under(ANNA, get_metadef_tags="!")
        with pytest.raises(Forbidden):
            await namespaces.show(services, no_tags, "CPU")
        with pytest.raises(Forbidden):
            await metadef_parts.list_parts(services, no_tags, "CPU", Kind.TAGS)
        assert not await metadef_parts.list_parts(services, under(ANNA, get_metadef_tag="!"), "CPU", Kind.TAGS)
        keeper = under(ANNA, metadef_admin="role:member and project_id:%(owner)s")
        await namespaces.create(services, keeper, {"namespace": "own", "tags": [{"name": "a"}]})
        await metadef_parts.clear(services, keeper, "own", Kind.TAGS)
        with pytest.raises(Forbidden):
            await namespaces.create(services, keeper, {"namespace": "theirs", "owner": "hedge"})
        with pytest.raises(Forbidden):
            await namespaces.change(services, keeper, "own", {"namespace": "own", "owner": "hedge"})
        with pytest.raises(Forbidden):
            await namespaces.delete(services, keeper, "secret")
        await namespaces.delete(services, keeper, "own")

    asyncio.run(scene())


def test_every_rule_is_a_kinds_or_a_namespaces() -> None:
    used = {
        rule
        for of in KINDS.values()
        for rule in (of.rules.list, of.rules.show, of.rules.add, of.rules.add_several, of.rules.change, of.rules.remove)
        if rule is not None
    }
    used |= {rule for of in KINDS.values() for rule in of.rules.clear}
    acts = {f"{act}_metadef_namespace" for act in ("get", "add", "modify", "delete")}
    assert used | acts == set(JUDGE_NAMESPACES)


def test_what_is_too_much_is_refused_before_it_is_looked_at_or_kept() -> None:
    with pytest.raises(LimitExceeded, match="more than 20000 values"):
        read_part(Kind.PROPERTIES, {"name": "long", **TITLE, "enum": [0] * 20_000}, at=NOW)
    with pytest.raises(LimitExceeded, match="1001 tags"):
        read_tags({"tags": [{"name": "same"}] * 1001}, at=NOW)
    with pytest.raises(LimitExceeded, match="1001 objects"):
        read_namespace({"namespace": "n", "objects": [{"name": "same"}] * 1001}, at=NOW)


def test_a_namespace_has_bounds(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        await new(services, "full", tags=[{"name": str(number)} for number in range(1000)])
        with pytest.raises(LimitExceeded, match="1001 tags"):
            await metadef_parts.add(services, ADMIN, "full", Kind.TAGS, {"name": "more"})
        many = [{"name": str(number)} for number in range(101)]
        with pytest.raises(LimitExceeded, match="101 resource_types"):
            await new(services, "much", resource_type_associations=many)
        long = {"name": "long", **TITLE, "description": "d" * (kinds.LARGEST - 100)}
        await metadef_parts.add(services, ADMIN, "full", Kind.PROPERTIES, long | {"description": "d" * 1000})
        with pytest.raises(LimitExceeded, match="characters"):
            await metadef_parts.change(services, ADMIN, "full", Kind.PROPERTIES, "long", long)
        assert (await metadef_parts.show(services, ADMIN, "full", Kind.PROPERTIES, "long")).content[
            "description"
        ] == "d" * 1000

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({}, "namespace"),
        ({"namespace": ""}, "name"),
        ({"namespace": "n" * 81}, "80"),
        ({"description": "d" * 501}, "500"),
        ({"visibility": "shared"}, "visibility"),
        ({"protected": 1}, "protected"),
        ({"owner": None}, "owner"),
        ({"other": 1}, "other"),
        ({"description": "\0"}, "NUL"),
        ({"display_name": "\ud800"}, "surrogate"),
        ({"tags": ["a"]}, r"tags\[0\]"),
        ({"tags": [{"name": "n" * 81}]}, "80"),
        ({"properties": {"": TITLE}}, "name"),
        ({"properties": {"p": {"title": "a"}}}, "properties.p"),
        ({"properties": {"p": {**TITLE, "other": 1}}}, "other"),
        ({"properties": {"p": {**TITLE, "minLength": -1}}}, "minLength"),
        ({"properties": {"p": {**TITLE, "minLength": 1.5}}}, "minLength"),
        ({"properties": {"p": {**TITLE, "minimum": True}}}, "minimum"),
        ({"properties": {"p": {**TITLE, "default": 1e999}}}, "large"),
        ({"objects": [{"name": "o", "required": ["a", "a"]}]}, "twice"),
        ({"objects": [{"name": "o", "properties": {"p": 7}}]}, "properties.p"),
        ({"resource_type_associations": [{"name": "r", "prefix": "p" * 81}]}, "80"),
    ],
)
def test_what_is_not_as_the_shape_has_it_is_refused_by_its_place(said: dict[str, object], named: str) -> None:
    with pytest.raises(Invalid, match=named):
        read_namespace({"namespace": "n", **said} if said else said, at=NOW)


@pytest.mark.parametrize("name", ["self", "schema", "created_at", "updated_at"])
def test_what_the_service_alone_says_is_refused(name: str) -> None:
    with pytest.raises(ReadOnlyAttribute, match=name):
        read_namespace({"namespace": "n", name: "a"}, at=NOW)
    with pytest.raises(ReadOnlyAttribute, match=name):
        read_part(Kind.OBJECTS, {"name": "o", name: "a"}, at=NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["namespace", "tags", "objects", "properties", "resource_type_associations", "owner", "x"]),
        JSON,
    )
)
def test_anything_is_read_or_refused_and_what_is_read_can_be_written(said: dict[str, object]) -> None:
    try:
        found = read_namespace(said, at=NOW)
    except (Invalid, ReadOnlyAttribute):
        return
    for part in found.parts:
        json.dumps(part.content, allow_nan=False).encode()


def test_a_query_has_bounds() -> None:
    with pytest.raises(Invalid):
        parse_namespace_query([("resource_types", ",".join("a" * n for n in range(200)))], Limits())
