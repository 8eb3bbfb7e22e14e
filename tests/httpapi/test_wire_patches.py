"""The language of PATCH: both dialects, pointers, and every way to get them wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpapi.wire.errors import BadRequest, UnsupportedBody
from httpapi.wire.patches import Dialect, PatchOperation, dialect_of, parse_patch, patch_document

DRAFT, RFC = Dialect.DRAFT_4, Dialect.RFC_6902


def one(raw: object, dialect: Dialect = RFC) -> PatchOperation:
    [operation] = parse_patch([raw], dialect)
    return operation


def test_the_newer_dialect_names_op_and_path_and_its_add_sets_in_any_case() -> None:
    assert one({"op": "add", "path": "/name", "value": "a"}) == PatchOperation("put", "name", "a")
    assert one({"op": "replace", "path": "/min_disk", "value": 3}) == PatchOperation("replace", "min_disk", 3)
    assert one({"op": "remove", "path": "/os"}) == PatchOperation("remove", "os")


def test_the_older_dialect_names_the_path_by_its_operation_and_its_add_wants_something_new() -> None:
    assert one({"add": "/name", "value": "a"}, DRAFT) == PatchOperation("add", "name", "a")
    assert one({"replace": "/tags", "value": ["a"]}, DRAFT) == PatchOperation("replace", "tags", ["a"])
    assert one({"remove": "/os", "value": "ignored"}, DRAFT) == PatchOperation("remove", "os")


def test_no_operations_are_none_and_several_keep_their_order() -> None:
    assert parse_patch([], RFC) == parse_patch([], DRAFT) == ()
    both = parse_patch([{"op": "remove", "path": "/b"}, {"op": "remove", "path": "/a"}], RFC)
    assert [each.name for each in both] == ["b", "a"]


def test_null_is_a_value() -> None:
    assert one({"op": "replace", "path": "/name", "value": None}) == PatchOperation("replace", "name", None)


@pytest.mark.parametrize(
    ("pointer", "name"),
    [
        ("/trait:HW_CPU_X86_AVX2", "trait:HW_CPU_X86_AVX2"), ("/a.b", "a.b"), ("/a~1b", "a/b"), ("/a~0b", "a~b"),
        ("/~01", "~1"), ("/~0~1", "~/"), ("/ é", " é"), ("/", ""),
    ],
)  # fmt: skip
def test_a_pointer_is_unescaped_once(pointer: str, name: str) -> None:
    assert one({"op": "remove", "path": pointer}).name == name


@given(st.text(), st.sampled_from(["add", "replace", "remove"]), st.sampled_from(list(Dialect)))
def test_every_name_can_be_said_in_either_dialect(name: str, kind: str, dialect: Dialect) -> None:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    raw: dict[str, object] = {"value": "v"}
    raw |= {"op": kind, "path": pointer} if dialect is RFC else {kind: pointer}
    if name != "locations":
        assert one(raw, dialect).name == name


@given(st.lists(st.builds(PatchOperation, st.sampled_from(["put", "replace"]), st.text(), st.text() | st.integers())))
def test_what_a_client_writes_a_server_reads(operations: list[PatchOperation]) -> None:
    operations = [each for each in operations if each.name != "locations"]
    operations += [PatchOperation("remove", each.name) for each in operations]
    assert list(parse_patch(patch_document(operations), RFC)) == operations


def test_only_of_locations_single_ones_can_be_named() -> None:
    assert one({"op": "add", "path": "/locations/-", "value": {}}).name == "locations"
    assert one({"op": "remove", "path": "/locations/0"}).name == "locations"
    assert one({"op": "replace", "path": "/locations", "value": []}).name == "locations"
    for kind, path in (("add", "/locations"), ("remove", "/locations"), ("replace", "/locations/0")):
        with pytest.raises(BadRequest, match="leads nowhere"):
            one({"op": kind, "path": path, "value": []})


@pytest.mark.parametrize(
    "raw",
    [
        7, None, [], "remove", {}, {"op": "remove"}, {"path": "/a"}, {"op": "move", "path": "/a", "value": 1},
        {"op": "test", "path": "/a", "value": 1}, {"op": "ADD", "path": "/a", "value": 1},
        {"op": ["add"], "path": "/a"}, {"op": "add", "path": "/a"}, {"op": "replace", "path": "/a"},
        {"op": "remove", "path": ["a"]},
        {"op": "remove", "path": "a"}, {"op": "remove", "path": ""}, {"op": "remove", "path": "/a/b"},
        {"op": "remove", "path": "/a/"}, {"op": "remove", "path": "//a"}, {"op": "remove", "path": "/~"},
        {"op": "remove", "path": "/a~2"}, {"remove": "/a"}, {"op": "remove", "path": None},
    ],
)  # fmt: skip
def test_an_operation_that_is_none_is_refused_by_its_number(raw: object) -> None:
    with pytest.raises(BadRequest, match="peration 2"):
        parse_patch([{"op": "remove", "path": "/x"}, raw], RFC)


@pytest.mark.parametrize(
    "raw",
    [{"op": "remove", "path": "/a"}, {"add": "/a", "remove": "/a", "value": 1}, {"add": "/a"}, {"add": 7, "value": 1}],
)
def test_the_older_dialect_wants_exactly_one_operation_and_its_value(raw: object) -> None:
    with pytest.raises(BadRequest, match="peration 1"):
        one(raw, DRAFT)


@pytest.mark.parametrize("document", [{}, "x", None, 7, {"op": "remove", "path": "/a"}])
def test_what_is_no_array_is_refused(document: object) -> None:
    with pytest.raises(BadRequest, match="array"):
        parse_patch(document, RFC)


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["op", "path", "value", "add"]) | st.text(), inner),
)


@given(json_values, st.sampled_from(list(Dialect)))
def test_any_document_is_read_or_refused(document: object, dialect: Dialect) -> None:
    try:
        found = parse_patch(document, dialect)
    except BadRequest:
        return
    assert all(each.act in {"add", "put", "replace", "remove"} for each in found)


def test_any_other_type_is_refused_and_told_what_is_taken() -> None:
    assert dialect_of("application/openstack-images-v2.0-json-patch") is DRAFT
    assert dialect_of("application/openstack-images-v2.1-json-patch") is RFC
    for other in ("application/json", "application/json-patch+json", "application/octet-stream", ""):
        with pytest.raises(UnsupportedBody) as refused:
            dialect_of(other)
        assert refused.value.accept_patch == f"{DRAFT}, {RFC}"
