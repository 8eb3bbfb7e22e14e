"""The language of policy rules: what it allows, and that nothing in it goes wrong in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.model.caller import Caller
from catalog.rule_language import RuleRefused, parse
from catalog.rules import Rules, join

ANSWERS = Path(__file__).parent / "oslo_answers.txt"
CALLER = Caller("ann", "stone", frozenset({"member", "auditor"}), frozenset({"service"}))
TARGET = {"owner": "stone", "other": "wood", "visibility": "shared", "protected": True, "size": 7, "nothing": None}


def holds(text: str, caller: Caller = CALLER) -> bool:
    # A rule to refer to, and a target that knows all names.
    rules = join({"yes": "@", "no": "!", "it": text}, {}, {})
    return rules.allow("it", caller, TARGET)


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("", True), ("@", True), ("!", False), ("(@)", True), ("((!))", False), ("not !", True), ("not not @", True),
        ("NOT @", False), ("@ AND !", False), ("@ Or !", True),
        # And binds before or, not before both.
        ("@ or @ and !", True), ("! and ! or @", True), ("! and (! or @)", False), ("not @ or @", True),
        ("not (@ or @)", False), ("not @ and !", False), ("! or not ! and @", True), ("@ or ! and ! and !", True),
        ("@ and not !", True), ("( @ and ( ! or @ ) )", True),
        ("role:member", True), ("role:Member", True), ("role:reader", True), ("role:auditor", True),
        ("role:admin", False), ("role:", False), ("role:%(owner)s", False), ("not role:admin", True),
        ("service_roles:service", True), ("roles:auditor", True), ("roles:reader", False),
        ("rule:yes", True), ("rule:no", False), ("not rule:no and rule:yes", True),
        ("project_id:stone", True), ("project_id:%(owner)s", True), ("project_id:%(other)s", False),
        ("tenant:%(owner)s", True), ("user_id:ann", True), ("user:%(owner)s", False), ("is_admin:False", True),
        ("is_admin:True", False), ("project_id:sto%(missing)s", False), ("project_id:%(missing)s", False),
        ("not project_id:%(missing)s", True), ("project_id:%(nothing)s", False), ("project_id:", False),
        ("'shared':%(visibility)s", True), ("'public':%(visibility)s", False), ('"shared":%(visibility)s', True),
        ("True:%(protected)s", True), ("7:%(size)s", True), ("'7':%(size)s", True), ("None:%(nothing)s", True),
        ("None:%(owner)s", False), ("'x-shared':x-%(visibility)s", True),
        ("'':%(missing)s", False), ("'wood/stone':%(other)s/%(owner)s", True),
    ],
)  # fmt: skip
def test_rules_mean_what_the_language_says(text: str, held: object) -> None:
    assert holds(text) is held


def test_four_hundred_rules_mean_what_oslo_policy_says_they_mean() -> None:
    # Made by chance, and answered by oslo.policy 6.0.1 for this caller (as member, reader and auditor) and this target.
    answers = [(line[:4].strip(), line[4:]) for line in ANSWERS.read_text(encoding="utf-8").splitlines()]
    assert len(answers) == 400
    assert [(answer, text) for answer, text in answers if holds(text) is not (answer == "yes")] == []


def test_a_project_called_none_owns_nothing_that_has_no_owner() -> None:
    odd = Caller("nil", "None", frozenset({"member"}))
    assert not holds("project_id:%(nothing)s", odd)
    assert holds("project_id:None", odd)


@pytest.mark.parametrize(
    "text",
    [
        " ", "\n", "admin", "role:admin and", "and role:admin", "role:admin role:member", "not", "()", "(", ")",
        "(role:admin", "role:admin)", "role:a or or role:b", "or:x and", "'text'", "@ !", "http://host/%(owner)s",
        "https:x", "colour:red", "is_admin_project:True", "domain_id:x", "system_scope:all", "target.owner:x",
        "project_id:100%", "project_id:%(owner)d", "project_id:%(owner", "role:%s", "[1:2", "a.b.c:d", "'a:b':a:b",
        "(" * 11 + "@" + ")" * 11, "not " * 11 + "@", "(" * 5000, "-" * 5000 + "1:x",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RuleRefused) as refused:
        parse(text)
    assert len(str(refused.value)) < 6000


def test_what_is_deepest_is_read_and_evaluated() -> None:
    assert holds("(" * 10 + "@" + ")" * 10)
    chain = {f"r{number}": f"{'(' * 9}rule:r{number + 1}{')' * 9}" for number in range(9)} | {"r9": "role:member"}
    assert join(chain, {}, {}).allow("r0", CALLER, TARGET)


def problems(given: dict[str, object], **more: set[str]) -> list[str]:
    defaults = {"get_image": "rule:readers", "readers": "role:reader", "delete_image": "role:member"}
    with pytest.raises(RuleRefused) as refused:
        join(defaults, given, {"get_image": {"owner"}, "delete_image": set()}, **more)
    return str(refused.value).splitlines()


def test_each_problem_of_a_set_of_rules_is_told() -> None:
    assert problems({"get_imag": "@"}) == [
        "Rule 'get_imag' is none of this service's, and no rule refers to it. Is 'get_image' meant?"
    ]
    assert problems({"get_image": "rule:reader"}) == [
        "Rule 'get_image' refers to 'reader', and there is no such rule. Is 'readers' meant?"
    ]
    assert problems({"readers": "not rule:get_image"}) == [
        "Rules refer to themselves: get_image → readers → get_image."
    ]
    assert problems({"readers": "rule:readers"}) == ["Rules refer to themselves: readers → readers."]
    strange: tuple[object, ...] = (None, True, 7, [], [["role:admin"]], {})
    for value in strange:
        [told] = problems({"get_image": value})
        assert told.startswith("Rule 'get_image': it is no text: write it in quotes")
    assert problems({"get_image": "role:", "delete_image": "%"})[0].startswith("Rule 'delete_image': '%' is no check")
    assert problems({"readers": "project_id:%(size)s"}) == [
        "Rule 'get_image' looks at %(size)s, which it cannot: it knows owner."
    ]
    assert problems({"delete_image": "project_id:%(owner)s"}) == [
        "Rule 'delete_image' looks at %(owner)s, which it cannot: it knows no attributes."
    ]
    every = problems({"delete_image": "%", "readers": "rule:readers or project_id:%(size)s", "get_imag": "@"})
    assert every[0].startswith("Rule 'delete_image': '%' is no check")
    assert every[1].startswith("Rule 'get_imag' is none of this service's")
    assert every[2:] == [
        "Rules refer to themselves: readers → readers.",
        "Rule 'get_image' looks at %(size)s, which it cannot: it knows owner.",
    ]
    assert len(problems({"readers": "%"})) == 1
    deep: dict[str, object] = {f"r{number}": f"rule:r{number + 1}" for number in range(12)}
    assert any("more than 10 deep" in each for each in problems(deep | {"r12": "@", "get_image": "rule:r0"}))
    assert any(
        "more than 10 deep" in each
        for each in problems({"r12": "@", "get_image": "rule:r0"} | dict(reversed(deep.items())))
    )


def test_an_operators_own_rules_stand_for_what_refers_to_them() -> None:
    defaults = {"get_image": "rule:readers", "readers": "role:reader", "delete_image": "role:member"}
    rules = join(defaults, {"delete_image": "rule:mine", "mine": "role:auditor"}, {"delete_image": set()})
    assert rules.allow("delete_image", CALLER, {})
    assert rules.changed == {"delete_image", "mine"}


def changed(given: dict[str, object]) -> frozenset[str]:
    return join({"get_image": "rule:readers", "readers": "role:reader"}, given, {}).changed


def test_a_rule_is_changed_by_what_it_refers_to_and_not_by_the_same_text() -> None:
    assert changed({"readers": "role:reader"}) == frozenset()
    assert changed({"readers": "@"}) == {"readers", "get_image"}
    assert changed({"get_image": "@"}) == {"get_image"}


def test_rules_without_a_default_are_none() -> None:
    assert Rules({}).changed == frozenset()
