"""The operator's rules for extra properties: how they are read, and what they let whom do."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.model.caller import Caller
from catalog.model.change import Act, Change
from catalog.model.errors import Conflict, ProtectedProperty
from catalog.model.image import Visibility
from catalog.model.new_image import NewImage
from catalog.policy import rules_with
from catalog.property_protection import Operation, Protection, ProtectionRefused, parse_protection
from catalog.rule_language import RuleRefused
from catalog.usecases import changing, images
from catalog.usecases.lineage import list_lineage
from catalog.usecases.queries import parse_query
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, names_listed
from tests.catalog.cast import put as stored

if TYPE_CHECKING:
    from catalog.usecases.services import Services

RULES = """
# The first one that is found decides.
[^x_secret]
create = admin
read = admin
update = admin
delete = admin

[^x_drop]
create = @
read = admin
update = admin
delete = admin

[^x_blind]
create = @
read = !
update = @
delete = !

[billing]
create = admin, Billing
read = @
update = billing
delete = !

[^open_.*]
create = @
read = @
update = @
delete = @

[^base_image_ref$]
create = @
read = admin
update = @
delete = @
"""
BILLING = Caller("bill", "wall", frozenset({"member", "billing"}))
ALL = "create = {0}\nread = {0}\nupdate = {0}\ndelete = {0}\n"


def may(protection: Protection, caller: Caller, name: str) -> str:
    """The first letters of what the caller may do with a property of this name."""
    rights = protection.rights(caller)
    return "".join(operation[0] for operation in Operation if rights.may(operation, name))


@pytest.fixture
def guarded(services: Services) -> Services:
    return replace(services, protection=parse_protection(RULES))


@pytest.mark.parametrize(
    ("name", "anna", "admin", "billing"),
    [
        ("x_secret", "", "crud", ""),
        ("x_secret_billing", "", "crud", ""),
        ("an_x_secret", "", "", ""),
        ("x_drop", "c", "crud", "c"),
        ("my_billing_code", "r", "cr", "cru"),
        ("BILLING", "", "", ""),
        ("open_x", "crud", "crud", "crud"),
        ("anything else", "", "", ""),
        ("", "", "", ""),
        ("\ud800", "", "", ""),
        ("os_glance_import_task", "crud", "crud", "crud"),
        ("open_" + "x" * 100_000, "crud", "crud", "crud"),
    ],
)
def test_the_first_section_that_is_found_decides_and_no_section_is_nobody(
    name: str, anna: str, admin: str, billing: str
) -> None:
    rules = parse_protection(RULES)
    assert [may(rules, caller, name) for caller in (ANNA, ADMIN, BILLING)] == [anna, admin, billing]


def test_without_a_file_nothing_is_protected() -> None:
    assert may(Protection(), ANNA, "x_secret") == "crud"


def test_roles_know_no_case_and_those_of_a_service_count(services: Services) -> None:
    rules = parse_protection("[.*]\n" + ALL.format("SERVICE , Member"))
    assert may(rules, ANNA, "a") == "crud"
    nova = Caller("nova", "wall", frozenset({"reader"}), service_roles=frozenset({"service"}))
    assert (may(rules, nova, "a"), may(rules, replace(nova, service_roles=frozenset()), "a")) == ("crud", "")
    # Where an identity does not list them, a role brings those below it.
    assert may(rules, ADMIN, "a") == "crud"


def test_an_empty_line_is_nobody_and_nobody_goes_before_roles() -> None:
    assert may(parse_protection("[.*]\n" + ALL.format("")), ADMIN, "a") == ""
    assert may(parse_protection("[.*]\n" + ALL.format("admin,!")), ADMIN, "a") == ""
    assert may(parse_protection("[.*]\n" + ALL.format("other,@")), ANNA, "a") == "crud"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no section"),
        ("create = @", "no INI file"),
        ("[a]\n" + ALL.format("@") + "[a]\n" + ALL.format("@"), "no INI file"),
        ("[.*]\ncreate = @\nread = @\nupdate = @", "has no line delete"),
        ("[.*]\ncreat = @\nread = @\nupdate = @\ndelete = @", "has no line create"),
        ("[.*]\n" + ALL.format("@,!"), "@ and ! cannot both be"),
        ("[(]\n" + ALL.format("@"), r"section \[\(\]: the expression cannot be used"),
        ("[^(?!x_)]\n" + ALL.format("@"), "without look-around"),
        (r"[(a)\1]" + "\n" + ALL.format("@"), "without look-around"),
        ("[os_glance.*]\n" + ALL.format("admin"), "alone"),
        ("".join(f"[s{number}]\n" + ALL.format("@") for number in range(257)), "257 sections"),
        ("".join(f"[{'(ab|cd)' * 99}{number}]\n" + ALL.format("@") for number in range(256)), "for one search"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_what_to_change(text: str, told: str) -> None:
    with pytest.raises(ProtectionRefused, match=told):
        parse_protection(text)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ProtectionRefused) as refused:
        parse_protection("[(]\ncreate = @,!\n[b]\n" + ALL.format("@").replace("read", "raed"))
    assert len(refused.value.problems) == 6


def test_sections_of_the_services_own_names_do_nothing() -> None:
    rules = parse_protection("[os_glance_.*]\n" + ALL.format("!") + "[.*]\n" + ALL.format("admin"))
    assert len(rules.sections) == 1
    assert may(rules, ANNA, "os_glance_x") == "crud"


def test_lines_may_name_rules_of_the_policy() -> None:
    text = """
[^x_]
create = context_is_admin
read = audit
update = !
delete = @
[.*]
create = default
read = default
update = default
delete =
"""
    protection = parse_protection(text, by_policy=True)
    assert protection.rules["^x_:read"] == "rule:audit"
    rules = rules_with({"audit": "role:auditor or rule:context_is_admin"}, protection.rules)
    auditor = replace(ANNA, roles=ANNA.roles | {"auditor"}, rules=rules)
    assert [may(protection, replace(caller, rules=rules), "x_a") for caller in (ANNA, ADMIN)] == ["d", "crd"]
    assert (may(protection, auditor, "x_a"), may(protection, auditor, "a")) == ("rd", "cru")
    with pytest.raises(RuleRefused, match="'audit', and there is no such rule"):
        rules_with({}, protection.rules)
    with pytest.raises(RuleRefused, match=r"looks at %\(owner\)s, which it cannot"):
        rules_with({}, {"^x_:read": "rule:modify_image"})


@pytest.mark.parametrize("line", ["admin,member", "role:admin or @", "(a)", "@,!"])
def test_a_line_that_names_several_rules_or_none_is_refused(line: str) -> None:
    with pytest.raises(ProtectionRefused, match="no name of a rule"):
        parse_protection("[.*]\n" + ALL.format(line), by_policy=True)


def test_no_expression_and_no_name_takes_long() -> None:
    rules = parse_protection("[^(a|a)*(a+)+$]\n" + ALL.format("@") + "[(x+x+)+y]\n" + ALL.format("@"))
    began = time.monotonic()
    for name in ("a" * 254 + "b", "x" * 255, "a" * 100_000 + "b", "x" * 100_000):
        assert may(rules, ANNA, name) == ""
    assert time.monotonic() - began < 1


def test_the_first_section_is_found_as_one_after_another_would_be() -> None:
    expressions = ["^a", "b$", "(?i)C", "d+e", "a.*b", "\\d{3}", "^$", "ü", "x|y", "."]
    rules = parse_protection("".join(f"[{each}]\n" + ALL.format("@") for each in expressions))
    names = ["", "a", "xa", "ab", "cc", "Cb", "dde", "za12b3b", "123", "ü", "é", "y", "x" * 255, "\ud800"]
    for name in names:
        expected = next((at for at, each in enumerate(expressions) if re.search(each, name)), -1)
        assert rules.section_of(name) == (-1 if name == "\ud800" else expected), name


def test_a_hundred_thousand_names_and_all_sections_that_there_may_be_take_no_minute() -> None:
    """So many names has a list of a thousand images."""
    rules = parse_protection("".join(f"[^department{number}_]\n" + ALL.format("@") for number in range(256)))
    began = time.thread_time()
    found = {rules.section_of(f"department{number % 300}_{number}") for number in range(10_000)}
    assert found == {-1, *range(256)}
    assert time.thread_time() - began < 1


def put(name: str, value: object) -> Change:
    return Change(Act.PUT, name, value)


def test_creating_takes_the_right_to_create(guarded: Services) -> None:
    async def scene() -> None:
        for name in ("x_secret", "no_section", "billing_code"):
            with pytest.raises(ProtectedProperty, match=f"'{name}' is reserved"):
                await images.create(guarded, ANNA, replace(RAW, properties={"open_a": "", name: "v"}))
        await images.create(guarded, ANNA, replace(RAW, properties={"open_a": "", "x_drop": "v"}))
        await images.create(guarded, BILLING, replace(RAW, properties={"billing_code": "v"}))

    asyncio.run(scene())


def test_base_attributes_are_not_protected(services: Services) -> None:
    async def scene() -> None:
        nothing = replace(services, protection=parse_protection("[.*]\n" + ALL.format("!")))
        image = await images.create(nothing, ANNA, replace(RAW, tags=frozenset({"t"}), min_disk=1))
        changed = await changing.change(nothing, ANNA, image.id, [put("name", "new"), put("disk_format", "iso")])
        assert changed.name == "new"
        assert await names_listed(nothing, ANNA, ("tag", "t"), ("min_disk", "1")) == ["new"]

    asyncio.run(scene())


def test_changing_and_removing_take_their_own_rights(guarded: Services) -> None:
    async def scene() -> None:
        image = await images.create(guarded, BILLING, replace(RAW, properties={"billing_code": "1"}))
        for change in (put("billing_code", "2"), Change(Act.REPLACE, "billing_code", "1")):
            with pytest.raises(ProtectedProperty, match="update"):
                await changing.change(guarded, ANNA, image.id, [change])
        for caller in (ANNA, BILLING):
            with pytest.raises(ProtectedProperty, match="delete"):
                await changing.change(guarded, caller, image.id, [Change(Act.REMOVE, "billing_code")])
        changed = await changing.change(guarded, BILLING, image.id, [put("billing_code", "2")])
        assert changed.properties == {"billing_code": "2"}
        for absent in (Change(Act.REPLACE, "billing_x", "v"), Change(Act.REMOVE, "billing_x")):
            with pytest.raises(Conflict):
                await changing.change(guarded, ANNA, image.id, [absent])

    asyncio.run(scene())


def test_what_a_caller_may_not_read_stays_when_something_else_changes(guarded: Services) -> None:
    async def scene() -> None:
        image = await images.create(guarded, ADMIN, replace(RAW, owner="wall", properties={"x_secret": "s"}))
        await changing.change(guarded, ANNA, image.id, [put("open_a", "1"), put("name", "new"), put("tags", ["t"])])
        await changing.change(guarded, ANNA, image.id, [Change(Act.REMOVE, "open_a")])
        assert (await images.show(guarded, ADMIN, image.id)).properties == {"x_secret": "s"}

    asyncio.run(scene())


def test_what_a_caller_may_not_read_is_not_there(guarded: Services) -> None:
    async def scene() -> None:
        there = await images.create(guarded, ADMIN, replace(RAW, owner="wall", properties={"x_secret": "s"}))
        without = await images.create(guarded, ANNA, RAW)
        for image in (there, without):
            for act in (Act.REPLACE, Act.REMOVE):
                with pytest.raises(Conflict, match="x_secret does not exist"):
                    await changing.change(guarded, ANNA, image.id, [Change(act, "x_secret", "v")])
            for act in (Act.PUT, Act.ADD):
                with pytest.raises(ProtectedProperty, match="create"):
                    await changing.change(guarded, ANNA, image.id, [Change(act, "x_secret", "v")])

    asyncio.run(scene())


def test_writing_blindly_writes_over_nothing_that_others_alone_may_change(guarded: Services) -> None:
    async def scene() -> None:
        dropped = await images.create(guarded, ANNA, replace(RAW, properties={"x_drop": "first"}))
        empty = await images.create(guarded, ANNA, RAW)
        for image in (dropped, empty):
            with pytest.raises(ProtectedProperty, match="update"):
                await changing.change(guarded, ANNA, image.id, [put("x_drop", "second")])
        assert (await images.show(guarded, ADMIN, dropped.id)).properties == {"x_drop": "first"}

    asyncio.run(scene())


def test_writing_blindly_does_not_tell_what_was_there(guarded: Services) -> None:
    async def scene() -> None:
        image = await images.create(guarded, ANNA, replace(RAW, properties={"x_blind": "guess"}))
        for act in (Act.PUT, Act.ADD):
            changed = await changing.change(guarded, ANNA, image.id, [Change(act, "x_blind", "guess")])
            assert changed.updated_at > image.updated_at
            image = changed

    asyncio.run(scene())


def test_no_filter_finds_by_what_the_caller_may_not_read(guarded: Services) -> None:
    async def scene() -> None:
        await images.create(guarded, ADMIN, replace(RAW, owner="wall", properties={"x_secret": "s", "open_a": "1"}))
        await images.create(guarded, ANNA, replace(RAW, name="plain"))
        assert await names_listed(guarded, ADMIN, ("x_secret", "s")) == ["disk"]
        assert await names_listed(guarded, ANNA, ("open_a", "1")) == ["disk"]
        for value in ("s", "t", ""):
            assert await names_listed(guarded, ANNA, ("x_secret", value)) == []
            assert await names_listed(guarded, ANNA, ("open_a", "1"), ("x_secret", value)) == []
        found = await list_lineage(guarded, ANNA, parse_query([("x_secret", "s")]))
        assert (found.descents, found.more) == ((), False)

    asyncio.run(scene())


def test_what_a_child_changed_does_not_tell_whether_a_hidden_property_names_a_parent(guarded: Services) -> None:
    async def scene() -> None:
        shown = await images.create(guarded, ADMIN, replace(RAW, visibility=Visibility.PUBLIC))
        secret = await images.create(guarded, ADMIN, replace(RAW, visibility=Visibility.PRIVATE))
        made = {}
        for parent in (shown.id, secret.id, None):
            properties = {} if parent is None else {"base_image_ref": parent}
            new = replace(RAW, name=str(parent), visibility=Visibility.COMMUNITY, properties=properties)
            made[str(parent)] = (await stored(guarded, await images.create(guarded, ANNA, new), b"data")).changed_size

        async def told(caller: Caller) -> dict[str | None, int | None]:
            page = await list_lineage(guarded, caller, parse_query([("visibility", "community")]))
            return {each.image.name: each.changed_size for each in page.descents}

        assert await told(ANNA) == await told(ADMIN) == made
        assert await told(BORIS) == dict.fromkeys(made)

    asyncio.run(scene())


def test_lineage_does_not_tell_a_parent_that_stands_in_a_hidden_property(guarded: Services) -> None:
    async def scene() -> None:
        parent = await images.create(guarded, ANNA, replace(RAW, name="parent"))
        await images.create(guarded, ANNA, replace(RAW, name="child", properties={"base_image_ref": parent.id}))
        await images.create(guarded, ANNA, NewImage(name="named", parent_image_ref=parent.id))

        async def parents(caller: Caller) -> dict[str | None, str | None]:
            page = await list_lineage(guarded, caller, parse_query([]))
            return {each.image.name: each.parent for each in page.descents}

        assert await parents(ANNA) == {"parent": None, "child": None, "named": parent.id}
        assert await parents(ADMIN) == {"parent": None, "child": parent.id, "named": parent.id}

    asyncio.run(scene())
