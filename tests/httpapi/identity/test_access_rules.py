"""Which requests the access rules of an application credential cover."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpapi.identity.access_rules import LONGEST_PATH, AccessRule, allowed

IMAGE = "11111111-2222-3333-4444-555555555555"


def covers(pattern: str, path: str) -> bool:
    return allowed([AccessRule("image", "GET", pattern)], "GET", path)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/v2/images", "/v2/images", True),
        ("/v2/images", "/v2/images/", False),
        ("/v2/images", "/v2/images?limit=1", True),
        ("/v2/images", "/v2.1/images", False),
        ("/v2/images", "/v2/imagesx", False),
        ("/v2/images", "x/v2/images", False),
        ("/v2.images", "/v2/images", False),
        ("/v2/images/*", f"/v2/images/{IMAGE}", True),
        ("/v2/images/{image_id}", f"/v2/images/{IMAGE}", True),
        ("/v2/images/{image_id}", "/v2/images/", False),
        ("/v2/images/{image_id}", f"/v2/images/{IMAGE}/file", False),
        ("/v2/images/*/file", f"/v2/images/{IMAGE}/file", True),
        ("/v2/images/*/file", f"/v2/images/{IMAGE}%2Ffile/file", True),
        ("/v2/images/*", f"/v2/images/{IMAGE}%2Ffile", True),
        ("/v2/images/a/b", "/v2/images/a%2Fb", False),
        ("/v2/images/a", "/v2/images/%61", True),
        ("/v2/images/1*", f"/v2/images/{IMAGE}", True),
        ("/v2/images/2*", f"/v2/images/{IMAGE}", False),
        ("/v2/**", f"/v2/images/{IMAGE}/members/x", True),
        ("**", "/v2/images", True),
        ("/v2/images/**/file", f"/v2/images/{IMAGE}/file", True),
        ("/v2/images/**/file", "/v2/images/file", False),
        ("", "/v2/images", False),
        ("/v2/images/[0-9]", "/v2/images/1", False),
        ("/v2/images/{", "/v2/images/{", True),
    ],
)
def test_a_rule_covers_what_keystone_documents(pattern: str, path: str, expected: bool) -> None:  # noqa: FBT001
    assert covers(pattern, path) is expected


def test_service_and_method_count_and_no_rules_allow_nothing() -> None:
    rules = [AccessRule("compute", "GET", "**"), AccessRule("image", "POST", "**")]
    assert not allowed(rules, "GET", "/v2/images")
    assert allowed(rules, "POST", "/v2/images")
    assert not allowed([], "GET", "/v2/images")
    assert not allowed([AccessRule("image", "get", "**")], "GET", "/v2/images")


@given(st.text("ab/*{}", max_size=12), st.text("ab/", max_size=16))
def test_matching_is_what_a_regular_expression_would_find(pattern: str, path: str) -> None:
    pieces = re.findall(r"\*\*|\*|\{[^{}/]*\}|.", pattern)
    wild = {"**": ".*", "*": "[^/]+"}
    said = "".join(wild.get(each, "[^/]+" if len(each) > 1 else re.escape(each)) for each in pieces)
    assert covers(pattern, path) is (re.fullmatch(said, path) is not None)


def test_no_rule_makes_matching_slow() -> None:
    path = "/v2/" + "a" * (LONGEST_PATH - 4)
    nasty = ["**a" * 42, "*a" * 64, "{x}**" * 25, "**/" * 42]
    began = time.monotonic()
    for pattern in nasty:
        assert not covers(pattern + "!", path)
    assert time.monotonic() - began < 0.5
    assert not covers("**", path + "a"), "a path that long is none of ours"
