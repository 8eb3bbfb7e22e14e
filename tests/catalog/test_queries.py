from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.model.errors import Invalid
from catalog.model.image import Visibility
from catalog.model.query import Between, HasTag, ImageQuery, OneOf, PropertyIs, Sort, narrowed
from catalog.usecases.queries import parse_query

if TYPE_CHECKING:
    from catalog.model.query import Filter

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)


def filters(*pairs: tuple[str, str]) -> list[Filter]:
    return list(parse_query(pairs).filters)


def test_no_parameters_ask_for_the_first_page_newest_first() -> None:
    assert parse_query([]) == ImageQuery()
    assert ImageQuery().sort == (Sort("created_at"), Sort("id"))
    assert (ImageQuery().limit, ImageQuery().os_hidden, ImageQuery().marker) == (25, False, None)


@pytest.mark.parametrize(("asked", "given_"), [("0", 0), ("7", 7), ("1000", 1000), ("1001", 1000), ("99999", 1000)])
def test_the_limit_is_clamped(asked: str, given_: int) -> None:
    assert parse_query([("limit", asked)]).limit == given_


@pytest.mark.parametrize("bad", ["-1", "", "ten", "1.5", "9" * 40, "٣"])
def test_a_limit_that_is_no_count_is_invalid(bad: str) -> None:
    with pytest.raises(Invalid, match="limit"):
        parse_query([("limit", bad)])


def test_repeated_tags_must_all_be_borne() -> None:
    assert filters(("tag", "a"), ("tag", "b")) == [HasTag("a"), HasTag("b")]


def test_a_filter_said_twice_counts_once() -> None:
    assert filters(("tag", "a"), ("os", "x"), ("tag", "a"), ("os", "x")) == [HasTag("a"), PropertyIs("os", "x")]


def test_more_parameters_than_a_database_can_be_asked_at_once_are_invalid() -> None:
    assert len(filters(*((f"key{number}", "") for number in range(128)))) == 128
    with pytest.raises(Invalid, match="129 parameters; 128 are"):
        filters(*[("key", "")] * 129)


def test_an_unknown_key_is_a_property() -> None:
    assert filters(("os_distro", "debian"), ("trait:X", "")) == [
        PropertyIs("os_distro", "debian"),
        PropertyIs("trait:X", ""),
    ]


@pytest.mark.parametrize("name", ["name", "id", "status", "container_format", "disk_format"])
def test_in_takes_a_list_with_quotes(name: str) -> None:
    assert filters((name, 'in:a,"b,c"')) == [OneOf(name, ("a", "b,c"))]
    assert filters((name, "plain")) == [OneOf(name, ("plain",))]
    assert filters((name, "eq:with:colon")) == [OneOf(name, ("with:colon",))]


@pytest.mark.parametrize("value", ["gt:a", "neq:a", "ubuntu:22.04", 'in:"open', 'in:"a"b', "in:a\nb"])
def test_other_operators_and_broken_lists_are_invalid(value: str) -> None:
    with pytest.raises(Invalid, match="name"):
        parse_query([("name", value)])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-22T12:00:00Z", Between("created_at", NOON, NOON + SECOND - TICK)),
        ("eq:2026-11-22T13:00:00+01:00", Between("created_at", NOON, NOON + SECOND - TICK)),
        ("neq:2026-11-22T12:00:00", Between("created_at", NOON, NOON + SECOND - TICK, outside=True)),
        ("gt:2026-11-22T12:00:00Z", Between("created_at", NOON + SECOND)),
        ("gt:2026-11-22T12:00:00.5Z", Between("created_at", NOON + SECOND)),
        ("gte:2026-11-22T12:00:00Z", Between("created_at", NOON)),
        ("gte:2026-11-22T12:00:00.5Z", Between("created_at", NOON + SECOND)),
        ("lt:2026-11-22T12:00:00Z", Between("created_at", None, NOON - TICK)),
        ("lt:2026-11-22T12:00:00.5Z", Between("created_at", None, NOON + SECOND - TICK)),
        ("lte:2026-11-22T12:00:00Z", Between("created_at", None, NOON + SECOND - TICK)),
    ],
)
def test_times_compare_in_whole_seconds_as_clients_see_them(value: str, expected: Between) -> None:
    assert filters(("created_at", value)) == [expected]


@pytest.mark.parametrize(
    "value", ["", "yesterday", "gt:", "gt:soon", "like:2026-11-22", "gt:9999-12-31T23:59:59Z", "gt:10000-01-01"]
)
def test_times_that_are_none_are_invalid(value: str) -> None:
    with pytest.raises(Invalid, match="updated_at"):
        parse_query([("updated_at", value)])


def test_numbers_have_equality_and_bounds() -> None:
    assert filters(("size_min", "3"), ("size_max", "9"), ("min_ram", "512"), ("min_ram_max", "0")) == [
        Between("size", low=3), Between("size", high=9), OneOf("min_ram", (512,)), Between("min_ram", high=0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "pair",
    [
        ("size_min", "big"), ("size", str(2**63)), ("protected", "True"), ("os_hidden", "maybe"),
        ("visibility", "secret"), ("member_status", "asleep"), ("changes-since", "2026-11-22"),
        ("name", "\ud800"), ("k\0", "v"),
    ],
)  # fmt: skip
def test_bad_filters_are_invalid(pair: tuple[str, str]) -> None:
    with pytest.raises(Invalid):
        parse_query([pair])


def test_flags_and_visibility() -> None:
    assert parse_query([("os_hidden", "True")]).os_hidden
    assert filters(("protected", "false")) == [OneOf("protected", (False,))]
    assert parse_query([("visibility", "community")]).visibility is Visibility.COMMUNITY
    everything = parse_query([("visibility", "all")])
    assert (everything.visibility, everything.every_visibility) == (None, True)


@pytest.mark.parametrize(
    ("pairs", "order"),
    [
        ([("sort", "name:asc,size")], "name+ size- created_at- id-"),
        ([("sort", "name:asc")], "name+ created_at+ id+"),
        ([("sort_key", "name"), ("sort_dir", "asc")], "name+ created_at+ id+"),
        ([("sort_key", "name")], "name- created_at- id-"),
        ([("sort_dir", "asc")], "created_at+ id+"),
        ([("sort_key", "name"), ("sort_key", "size"), ("sort_dir", "asc")], "name+ size+ created_at+ id+"),
        (
            [("sort_key", "name"), ("sort_dir", "asc"), ("sort_key", "id"), ("sort_dir", "desc")],
            "name+ id- created_at-",
        ),
        ([("sort", "name:asc,name:desc,id")], "name+ id- created_at-"),
    ],
)
def test_an_order_is_completed_until_it_is_total(pairs: list[tuple[str, str]], order: str) -> None:
    sort = parse_query(pairs).sort
    assert " ".join(f"{each.key}{'-' if each.descending else '+'}" for each in sort) == order


@pytest.mark.parametrize(
    "pairs",
    [
        [("sort", "name"), ("sort_key", "name")],
        [("sort", "name"), ("sort_dir", "asc")],
        [("sort", "checksum")],
        [("sort", "")],
        [("sort", "name:up")],
        [("sort_key", "owner")],
        [("sort_key", "name"), ("sort_dir", "ASC")],
        [("sort_key", "name"), ("sort_dir", "asc"), ("sort_dir", "desc")],
        [("sort_key", "a"), ("sort_key", "b"), ("sort_key", "c"), ("sort_dir", "asc"), ("sort_dir", "asc")],
    ],
)
def test_a_senseless_order_is_invalid(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(Invalid):
        parse_query(pairs)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["limit", "sort", "created_at", "size_min", "name", "visibility", "protected", "tag", "k", "size"]
            ),
            st.text(max_size=12) | st.sampled_from(["in:", "gt:", "eq:0001-01-01T00:00:00+14:00", "lt:0001-01-01"]),
        ),
        max_size=4,
    )
)
def test_any_parameters_give_a_query_or_invalid_and_nothing_else(pairs: list[tuple[str, str]]) -> None:
    try:
        query = parse_query(pairs)
    except Invalid:
        return
    assert query.sort


def test_ranges_of_one_attribute_are_one_that_can_hold_for_few() -> None:
    asked = filters(("size_min", "3"), ("tag", "x"), ("size_max", "9"), ("size_min", "5"), ("size_max", "8"))
    assert list(narrowed(asked)) == [HasTag("x"), Between("size", low=5, high=8)]


def test_what_was_changed_last_before_a_time_was_made_before_it() -> None:
    before = Between("updated_at", high=NOON - TICK)
    assert list(narrowed([before])) == [before, Between("created_at", high=NOON - TICK)]
    made = Between("created_at", low=NOON - SECOND, high=NOON)
    assert list(narrowed([made, before])) == [Between("created_at", low=NOON - SECOND, high=NOON - TICK), before]
    after = Between("updated_at", low=NOON)
    other = Between("updated_at", low=NOON, high=NOON, outside=True)
    assert list(narrowed([after, other])) == [other, after]
