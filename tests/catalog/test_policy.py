from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog import conversion_policy, location_policy, policy
from catalog.model.caller import Caller
from catalog.model.image import Image, Status, Visibility
from catalog.model.query import ImageQuery
from catalog.rule_targets import NOT_SERVED, TARGETS
from tests.catalog.cast import ADMIN, ANNA, BORIS, NOBODY, READER

THEN = datetime(2026, 11, 22, tzinfo=UTC)


def image(visibility: Visibility = Visibility.SHARED, owner: str | None = "wall", **more: object) -> Image:
    whole = Image(id="an-image", owner=owner, created_at=THEN, updated_at=THEN, visibility=visibility)
    return replace(whole, **more)  # type: ignore[arg-type]  # the attributes are the test's choice


@pytest.mark.parametrize("visibility", list(Visibility))
def test_a_project_and_the_admin_see_its_images_whatever_their_visibility(visibility: Visibility) -> None:
    for caller in (ANNA, READER, ADMIN):
        assert policy.visible(caller, image(visibility))


@pytest.mark.parametrize("visibility", list(Visibility))
def test_others_see_public_and_community_images_by_their_id(visibility: Visibility) -> None:
    assert policy.visible(BORIS, image(visibility)) == (visibility in {Visibility.PUBLIC, Visibility.COMMUNITY})


def test_without_a_role_nothing_is_visible_and_nothing_listed() -> None:
    assert not policy.visible(NOBODY, image(Visibility.PUBLIC))
    assert not policy.may_list(NOBODY)


def test_only_members_of_the_owner_and_admins_modify() -> None:
    public = image(Visibility.PUBLIC)
    assert [policy.may_modify(caller, public) for caller in (ANNA, ADMIN, READER, BORIS)] == [True, True, False, False]


def test_an_image_without_an_owner_is_the_admins() -> None:
    assert not policy.may_modify(ANNA, image(owner=None))
    assert not policy.visible(ANNA, image(owner=None))
    assert policy.may_modify(ADMIN, image(owner=None))


def test_a_reader_may_look_but_not_download() -> None:
    assert [policy.may_download(caller, image()) for caller in (ANNA, ADMIN, READER, BORIS)] == [
        True, True, False, False,
    ]  # fmt: skip


def test_a_deactivated_image_is_downloaded_by_the_admin_alone() -> None:
    asleep = image(status=Status.DEACTIVATED)
    assert not policy.may_download(ANNA, asleep)
    assert policy.may_download(ADMIN, asleep)


def test_a_member_creates_for_the_own_project_and_the_admin_for_all() -> None:
    assert policy.may_create(ANNA, "wall")
    assert not policy.may_create(ANNA, "hedge")
    assert not policy.may_create(READER, "wall")
    assert policy.may_create(ADMIN, "hedge")


def test_only_the_admin_publicizes() -> None:
    assert policy.may_show(ADMIN, "wall", Visibility.PUBLIC)
    assert not policy.may_show(ANNA, "wall", Visibility.PUBLIC)


@pytest.mark.parametrize(
    ("query", "others"),
    [
        (ImageQuery(), {Visibility.PUBLIC}),
        (ImageQuery(every_visibility=True), {Visibility.PUBLIC, Visibility.COMMUNITY}),
        (ImageQuery(visibility=Visibility.COMMUNITY), {Visibility.COMMUNITY}),
        (ImageQuery(visibility=Visibility.PRIVATE), set()),
        (ImageQuery(visibility=Visibility.SHARED), set()),
    ],
)
def test_a_listing_reaches_others_images_only_as_far_as_they_show_them(
    query: ImageQuery, others: set[Visibility]
) -> None:
    scope = policy.listing_scope(ANNA, query)
    assert (scope.everything, scope.project, scope.others) == (False, "wall", frozenset(others))
    assert policy.listing_scope(ADMIN, query).everything


def under(caller: Caller, **given: str) -> Caller:
    """The caller under a policy with these rules in place of the defaults."""
    return replace(caller, rules=policy.rules_with(given))


def test_the_default_rules_given_again_change_nothing() -> None:
    same = under(ANNA, **policy.DEFAULTS)
    assert same.rules is not None
    assert same.rules.changed == frozenset()
    assert not policy.judges_lists(same, "get_image")
    assert policy.judges_lists(under(ANNA, shown_to_all="!"), "get_image")


def test_a_rule_decides_about_its_act_and_no_other() -> None:
    mine = image()
    editor = under(Caller("ed", "wall", frozenset({"reader", "editor"})), delete_image="role:editor")
    assert policy.may_delete(editor, mine)
    assert not policy.may_modify(editor, mine)
    assert not policy.may_upload(editor, mine)
    nobody = under(ADMIN, delete_image="!", download_image="!", get_images="!", publicize_image="!")
    assert not policy.may_delete(nobody, mine)
    assert not policy.may_download(nobody, mine)
    assert not policy.may_list(nobody)
    assert not policy.may_show(nobody, "wall", Visibility.PUBLIC)
    assert policy.may_list_tasks(nobody)
    assert policy.may_modify(nobody, mine)


@pytest.mark.parametrize("rule", ["", "@", "not role:x", "'shared':%(visibility)s or 'private':%(visibility)s"])
def test_no_rule_shows_what_the_caller_does_not_reach(rule: str) -> None:
    for visibility in (Visibility.SHARED, Visibility.PRIVATE):
        assert not policy.visible(under(BORIS, get_image=rule), image(visibility))
    assert policy.visible(under(BORIS, get_image=rule), image(members=frozenset({"hedge"})))
    assert not policy.kept_visible(under(BORIS, get_deleted_image="@"), None)


def test_what_is_hidden_can_be_neither_downloaded_nor_built_on() -> None:
    hidden = under(ANNA, get_image="not 'private':%(visibility)s")
    secret = image(Visibility.PRIVATE)
    assert not policy.visible(hidden, secret)
    assert not policy.may_download(hidden, secret)
    assert not policy.may_inherit(hidden, image(), secret)
    assert policy.visible(hidden, image())


def test_a_service_is_known_by_its_role_or_by_its_token() -> None:
    by_role = Caller("glance", "services", frozenset({"service"}))
    by_token = Caller("ann", "wall", frozenset({"member"}), frozenset({"service"}))
    for caller, allowed in ((by_role, True), (by_token, True), (ADMIN, True), (ANNA, False)):
        assert policy.may_list_tasks(under(caller, get_tasks="rule:service_api")) is allowed


def test_the_references_own_texts_are_read_as_they_stand() -> None:
    # As its sample file has them; what is not served is passed over.
    glance = {
        "default": "",
        "context_is_admin": "role:admin",
        "add_image": "role:admin or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
        "get_image": (
            "role:admin or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s or "
            "'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s))"
        ),
        "get_image_location": "role:admin or (role:reader and project_id:%(project_id)s)",
        "get_task": "rule:default",
        "metadef_admin": "role:admin",
        "add_metadef_tag": "rule:metadef_admin",
    }
    anna, boris = under(ANNA, **glance), under(BORIS, **glance)
    assert policy.visible(anna, image())
    assert not policy.visible(boris, image())
    assert policy.visible(boris, image(members=frozenset({"hedge"})))
    assert policy.may_create(anna, "wall")
    assert not policy.may_create(boris, "wall")


def test_every_rule_says_what_it_judges_and_is_used() -> None:
    source = Path(policy.__file__).read_text(encoding="utf-8")
    beside = [Path(each).read_text(encoding="utf-8") for each in (location_policy.__file__, conversion_policy.__file__)]
    functions = "".join([source[source.index("def rules_with") :], *beside])
    definitions = {name for name in policy.DEFAULTS if "metadef" in name}
    acts = {name for name in policy.DEFAULTS if f'"{name}"' in functions}
    assert acts == set(TARGETS) - definitions
    for name in policy.DEFAULTS.keys() - acts - definitions - {"service_api"}:
        assert f"rule:{name}" in source, name
    assert not NOT_SERVED & policy.DEFAULTS.keys()
