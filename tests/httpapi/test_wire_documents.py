"""What travels as JSON: images, lists, versions, errors, and the bodies that come in."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpapi.wire.deleted import DeletedRecord, parse_deleted
from httpapi.wire.errors import BadRequest, error_document
from httpapi.wire.images import ImageRecord, list_links, parse_image
from httpapi.wire.json_body import parse_json, parse_object
from httpapi.wire.sizes import announced
from httpapi.wire.versions import CAME_WITH, advertised, version_document

REFERENCE_KEYS = {
    "id", "name", "status", "visibility", "protected", "os_hidden", "checksum", "os_hash_algo", "os_hash_value",
    "owner", "size", "virtual_size", "container_format", "disk_format", "min_ram", "min_disk", "tags", "created_at",
    "updated_at", "self", "file", "schema",
}  # fmt: skip
RECORD = ImageRecord(
    id="11111111-1111-1111-1111-111111111111",
    status="queued",
    visibility="shared",
    created_at="2026-11-22T17:47:08Z",
    updated_at="2026-11-22T17:47:08Z",
    tags=("a", "b"),
    properties={"trait:X": "", "owner_specified.openstack.md5": "ff"},
)


def test_an_image_has_the_references_keys_and_its_own_properties_and_no_other() -> None:
    document = RECORD.to_json()
    assert set(document) == REFERENCE_KEYS | {"trait:X", "owner_specified.openstack.md5"}
    assert next(iter(document)) == "trait:X"
    assert document["file"] == "/v2/images/11111111-1111-1111-1111-111111111111/file"


def test_a_record_comes_back_from_its_json() -> None:
    assert parse_image(RECORD.to_json()) == RECORD


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            st.text(st.characters(exclude_categories=["Cs"])),
        ),
        max_size=8,
    )
)
def test_the_links_of_a_list_keep_every_parameter_but_the_marker(query: list[tuple[str, str]]) -> None:
    links = list_links(query, last_id="last")
    kept = [pair for pair in query if pair[0] != "marker"]
    assert parse_qsl(urlsplit(links["first"]).query, keep_blank_values=True) == kept
    assert parse_qsl(urlsplit(links["next"]).query, keep_blank_values=True) == [*kept, ("marker", "last")]


def test_the_last_page_has_no_next_link() -> None:
    assert list_links([], last_id=None) == {"first": "/v2/images", "schema": "/v2/schemas/images"}


def test_a_list_of_ours_names_no_schema_for_there_is_none() -> None:
    assert list_links([], last_id=None, noun="lineage") == {"first": "/v2/lineage"}


def test_the_version_document_lists_the_newest_first_as_current() -> None:
    versions = version_document("http://h:1", (7, 0))["versions"]
    assert [each["status"] for each in versions].count("CURRENT") == 1
    assert versions[0]["status"] == "CURRENT"
    assert all(each["links"] == [{"rel": "self", "href": "http://h:1/v2/"}] for each in versions)
    assert [each["id"] for each in versions] == ["v2.7", "v2.0"]


def test_a_version_is_told_once_all_that_came_with_it_is_served() -> None:
    every = frozenset().union(*CAME_WITH.values())
    assert advertised(every) == tuple(sorted(CAME_WITH, reverse=True))
    for route in every:
        told = advertised(every - {route})
        assert set(CAME_WITH) - set(told) == {minor for minor, routes in CAME_WITH.items() if route in routes}


def test_an_error_document_has_three_keys() -> None:
    assert error_document(404, "gone") == {"message": "gone", "code": "404 Not Found", "title": "Not Found"}


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"{", b"[" * 100_000, b'{"a":' * 50_000, b'{"a": NaN}', b"\xff\xfe{}", b'{"a": "\\ud800"}',
     b"9" * 5000, b"[1]", b'"text"', b"null", b"{} {}"],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_object(body)


def test_what_is_told_of_a_number_is_no_sentence_of_the_interpreters() -> None:
    for digits in ("9" * 5000, "-" + "9" * 1001):
        with pytest.raises(BadRequest, match=r"not valid JSON: a number has \d+ digits\.$"):
            parse_json(digits.encode())
    assert parse_json(b"-12") == -12


@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_reader(body: bytes) -> None:
    with suppress(BadRequest):
        parse_json(body)


@pytest.mark.parametrize("text", ["-1", "", "ten", "1.0", "1e3", "+1", "0x1", "1_0", "²", "9" * 19, "9" * 5000, "1,1"])
def test_a_size_that_is_no_number_of_bytes_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest):
        announced(text, None)
    with pytest.raises(BadRequest):
        announced(None, text)


def test_announced_sizes_must_agree_and_the_images_goes_first() -> None:
    assert announced(None, None).expected is None
    assert announced(None, "10").expected == 10
    assert announced("11", "10").expected == 11
    assert announced("11", "10").disagrees
    assert not announced("0", "0").disagrees
    assert not announced("11", None).disagrees


DELETED = DeletedRecord(
    id="11111111-1111-1111-1111-111111111111",
    name=None,
    owner="wall",
    status="active",
    size=5,
    created_at="2026-11-22T17:47:08Z",
    deleted_at="2026-11-23T17:47:08Z",
    kept_until="2026-11-24T17:47:08Z",
)


def test_a_deleted_image_comes_back_from_its_json_and_from_nothing_less() -> None:
    assert parse_deleted(DELETED.to_json()) == DELETED
    for name, value in DELETED.to_json().items():
        for other in ({}, {name: -1}, {name: [value]}):
            document = {key: each for key, each in DELETED.to_json().items() if key != name} | other
            if other or name not in {"name", "owner"}:
                with pytest.raises(KeyError):
                    parse_deleted(document)
