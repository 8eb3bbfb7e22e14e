from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from httpapi.client.api import ImagesApi
from httpapi.client.errors import Ambiguous, NoSuchImage, NotAnImageService
from httpapi.client.names import find_image

if TYPE_CHECKING:
    from tests.kit.small_server import SmallServer

ONE = "abcdef01-2345-4678-9abc-def012345678"
TWO = "abcdef01-2399-4678-9abc-def012345678"


def find(small: SmallServer, text: str, *, project: str | None = None, newest: bool = True) -> str:
    async def connected() -> str:
        async with ImagesApi(small.url) as api:
            return (await find_image(api, text, project=project, newest=newest)).id

    return asyncio.run(connected())


@pytest.mark.parametrize("text", [ONE, ONE.upper(), "abcdef01-234", "abcdef0123", "ABCDEF", "abcdef0"])
def test_an_id_or_its_beginning_means_the_image(small: SmallServer, text: str) -> None:
    small.add(id=ONE)
    small.add("other")
    assert find(small, text) == ONE


def test_fewer_than_six_digits_are_no_prefix(small: SmallServer) -> None:
    small.add(id=ONE)
    with pytest.raises(NoSuchImage, match="`drystone ls` lists"):
        find(small, "abcde")


def test_a_prefix_of_several_ids_is_ambiguous_and_lists_them(small: SmallServer) -> None:
    small.add(id=ONE)
    small.add(id=TWO)
    with pytest.raises(Ambiguous) as several:
        find(small, "abcdef01-23")
    assert [image.id for image in several.value.candidates] == [TWO, ONE]
    assert find(small, "abcdef01-234") == ONE


def test_a_prefix_finds_hidden_images_too(small: SmallServer) -> None:
    small.add(id=ONE, os_hidden=True)
    assert find(small, "abcdef") == ONE


def test_an_unknown_id_is_said_so(small: SmallServer) -> None:
    with pytest.raises(NoSuchImage):
        find(small, ONE)


@pytest.mark.parametrize("stored", [ONE.upper(), ONE])
def test_an_id_with_capital_letters_is_found_as_it_was_typed(small: SmallServer, stored: str) -> None:
    small.add(id=stored)
    assert find(small, ONE.upper()) == stored


def test_a_name_that_looks_like_an_id_is_found_where_no_image_has_that_id(small: SmallServer) -> None:
    named = small.add(ONE)
    assert find(small, ONE) == named
    small.add("other", id=ONE)
    assert find(small, ONE) == ONE


def test_a_record_of_another_image_than_asked_for_is_refused(small: SmallServer) -> None:
    small.add(id=ONE)
    small.images[ONE]["id"] = TWO
    with pytest.raises(NotAnImageService, match=f"asked for image {ONE}, the server answers with {TWO}"):
        find(small, ONE)


def test_a_name_means_the_newest_active_image(small: SmallServer) -> None:
    small.add("disk")
    newest = small.add("disk")
    small.add("disk", data=None)
    small.add("disk", os_hidden=True)
    small.add("other")
    assert find(small, "disk") == newest


def test_a_name_means_a_hidden_image_only_if_no_other_has_it(small: SmallServer) -> None:
    hidden = small.add("disk", os_hidden=True)
    assert find(small, "disk") == hidden


def test_a_name_without_an_active_image_means_the_only_other(small: SmallServer) -> None:
    queued = small.add("disk", data=None)
    assert find(small, "disk") == queued
    small.add("disk", data=None)
    with pytest.raises(Ambiguous):
        find(small, "disk")


def test_ones_own_images_go_first_where_the_project_is_known(small: SmallServer) -> None:
    own = small.add("disk", owner="mine")
    theirs = small.add("disk", owner="theirs")
    assert find(small, "disk", project="mine") == own
    assert find(small, "disk", project="theirs") == theirs
    with pytest.raises(Ambiguous):
        find(small, "disk")


def test_somebody_elses_image_is_found_if_one_has_none_of_that_name(small: SmallServer) -> None:
    theirs = small.add("disk", owner="theirs")
    assert find(small, "disk", project="mine") == theirs


def test_what_may_be_a_name_and_a_prefix_is_ambiguous(small: SmallServer) -> None:
    named = small.add("abcdef")
    assert find(small, "abcdef") == named
    small.add(id=ONE)
    with pytest.raises(Ambiguous):
        find(small, "abcdef")


def test_where_it_destroys_a_name_of_several_images_is_ambiguous(small: SmallServer) -> None:
    small.add("disk")
    assert find(small, "disk", newest=False)
    small.add("disk")
    with pytest.raises(Ambiguous):
        find(small, "disk", newest=False)


@pytest.mark.parametrize("name", ["in:a,b", "debian:12", "eq:x", ":", "a/b?c=d&e", "ünïcode", "-x"])
def test_odd_names_are_found(small: SmallServer, name: str) -> None:
    image_id = small.add(name)
    small.add("a")
    assert find(small, name) == image_id
