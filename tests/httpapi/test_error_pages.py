"""Errors as a page for people, and that nothing in one is more than text."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from httpapi.wire.errors import error_page
from httpapi.wire.reading import prefers_page

if TYPE_CHECKING:
    from tests.kit.running_server import RunningServer

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
HOSTILE = (
    "<script>alert(1)</script>", "</p></body><img src=x onerror=alert(1)>", "\"'><svg onload=alert(1)>", "&lt;b&gt;",
    "&#60;", "\u2028\u202e<b>",
)  # fmt: skip


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (None, False), ("", False), ("*/*", False), ("application/json", False), ("text/html", True),
        (BROWSER["Accept"], True), ("application/json, text/html;q=0.9", False), ("text/html, application/json", False),
        ("text/html;q=0.5, application/json;q=0.4", True), ("text/html;q=0", False), ("text/*", False),
        ("TEXT/HTML", True), ("text/html;q=x", False), ("nonsense;;,", False),
    ],
)  # fmt: skip
def test_a_page_is_for_who_ranks_html_above_json(accept: str | None, *, page: bool) -> None:
    assert prefers_page(accept) is page


def test_every_kind_of_error_is_json_by_default_and_a_page_for_a_browser(server: RunningServer) -> None:
    for method, path, status in (
        ("GET", "/v2/images/x", 404), ("GET", "/nothing", 404), ("DELETE", "/v2/images", 405),
        ("GET", "/v2/images?limit=x", 400), ("GET", "/%ff", 400), ("TRACE", "/nothing", 404),
        ("PUT", "/v2/images/x/file", 415),
    ):  # fmt: skip
        plain = server.call(method, path)
        assert (plain.status, plain.headers["Content-Type"]) == (status, "application/json")
        assert plain.json["code"].startswith(str(status))
        page = server.call(method, path, headers=BROWSER)
        assert (page.status, page.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert (page.code, page.headers.get("Allow")) == (plain.code, plain.headers.get("Allow"))
        assert page.headers["x-openstack-request-id"].startswith("req-")
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert {plain.headers["Vary"], page.headers["Vary"]} == {"Accept, User-Agent"}
        assert page.body.startswith(b"<!DOCTYPE html>")
        assert str(len(page.body)) == page.headers["Content-Length"]


def test_glanceclient_gets_a_page_since_it_fails_over_json(server: RunningServer) -> None:
    for agent in ("python-glanceclient", "python-glanceclient keystoneauth1/5.13.0 python-requests/2.32"):
        for accept, kind in (
            ("*/*", "text/html; charset=utf-8"),
            ("", "text/html; charset=utf-8"),
            ("application/json", "application/json"),
        ):
            answer = server.call("GET", "/v2/images/x", headers={"Accept": accept, "User-Agent": agent})
            assert (answer.status, answer.headers["Content-Type"]) == (404, kind)


def test_success_is_no_page(server: RunningServer) -> None:
    assert server.call("GET", "/v2/images", headers=BROWSER).headers["Content-Type"] == "application/json"
    assert server.call("GET", "/", headers=BROWSER).json["versions"]


def test_a_head_that_fails_has_no_body_as_a_page_either(server: RunningServer) -> None:
    answer = server.call("HEAD", "/v2/images", headers=BROWSER)
    assert (answer.status, answer.body) == (405, b"")


@pytest.mark.parametrize("text", HOSTILE)
def test_what_others_wrote_is_text_in_the_page(server: RunningServer, text: str) -> None:
    for method, path in (
        ("GET", f"/{quote(text, safe='')}"),
        ("GET", f"/v2/images/{quote(text, safe='')}"),
        ("GET", f"/v2/images?limit={quote(text)}"),
        ("GET", f"/v2/images?marker={quote(text)}"),
        ("GET", f"/v2/images?sort_key={quote(text)}"),
    ):
        page = server.call(method, path, headers=BROWSER).body.decode()
        assert_plain(page)
    assert_plain(server.call("POST", "/v2/images", json_body={"disk_format": text}, headers=BROWSER).body.decode())
    assert_plain(server.call("POST", "/v2/images", json_body={f"os_glance{text}": ""}, headers=BROWSER).body.decode())


@pytest.mark.parametrize("text", [*HOSTILE, "\udcff", "\0", "\r\nSet-Cookie: a=b"])
def test_any_message_makes_one_whole_page(text: str) -> None:
    assert_plain(error_page(400, text))


def assert_plain(page: str) -> None:
    """The page's own marks and no other."""
    inside = page.split("<p>")[1].rsplit("</p>", 1)[0]
    assert page.count("<p>") == page.count("</p>") == 1
    assert not set("<>") & set(inside)
