from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from catalog import policy
from catalog.model.image import Image, Status, Visibility
from catalog.model.query import ImageQuery
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
    assert policy.may_publicize(ADMIN)
    assert not policy.may_publicize(ANNA)


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
