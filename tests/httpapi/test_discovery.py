"""Discovery, unknown paths and verbs, request ids, and who may come in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from httpapi.identity.none import check_host, check_origin
from httpapi.wire.errors import HostRefused

if TYPE_CHECKING:
    from tests.kit.running_server import RunningServer


def test_the_root_offers_a_choice_and_the_version_roots_give_the_same_list(server: RunningServer) -> None:
    root = server.call("GET", "/")
    assert root.status == 300
    assert root.json["versions"][0]["status"] == "CURRENT"
    assert root.json["versions"][0]["links"][0]["href"] == f"http://127.0.0.1:{server.port}/v2/"
    for path in ("/versions", "/v2", "/v2/", "/v2.3", "/v2.3/"):
        answer = server.call("GET", path)
        assert (path, answer.status, answer.json) == (path, 200, root.json)
        assert answer.headers["Content-Type"].startswith("application/json")


def test_the_list_tells_the_versions_whose_routes_are_all_served(server: RunningServer) -> None:
    told = {each["id"] for each in server.call("GET", "/versions").json["versions"]}
    assert told >= {f"v2.{minor}" for minor in (0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 17)}
    assert not told & {f"v2.{minor}" for minor in (8, 10, 11, 14, 15, 16, 18)}


def test_an_unknown_version_is_answered_with_the_list(server: RunningServer) -> None:
    for path in ("/v3", "/v3/images", "/va.1/images/x/file", "/v1"):
        answer = server.call("GET", path)
        assert (path, answer.status) == (path, 300)
        assert "versions" in answer.json


def test_every_minor_version_is_the_same_service(server: RunningServer) -> None:
    for prefix in ("/v2", "/v2.0", "/v2.7", "/v2.99"):
        assert server.call("GET", f"{prefix}/images").status == 200


def test_an_unknown_path_is_404_in_the_shape_of_every_error(server: RunningServer) -> None:
    for path in ("/nothing", "/v2/nothing", "/versions/2", "/v2/images/a/b/c", "/v2/images/", "/v2/a%0Ab/c"):
        answer = server.call("GET", path)
        assert (path, answer.status, answer.code) == (path, 404, "no-such-route")
        assert set(answer.json) == {"message", "code", "title"}
        assert answer.json["code"] == "404 Not Found"


def test_a_known_path_with_another_verb_is_405_and_says_which_are_allowed(server: RunningServer) -> None:
    for method, path, allowed in (
        ("DELETE", "/v2/images", "GET, POST"),
        ("HEAD", "/v2/images", "GET, POST"),
        ("POST", "/v2/images/x/file", "GET, HEAD, PUT"),
        ("POST", "/v2/images/x", "DELETE, GET, PATCH"),
        ("OPTIONS", "/v2/images", "GET, POST"),
        ("POST", "/versions", "GET, HEAD"),
    ):
        answer = server.call(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)
        assert method == "HEAD" or answer.json["title"] == "Method Not Allowed"


def test_a_method_that_http_does_not_define_is_501_on_every_path(server: RunningServer) -> None:
    for method in ("FOO", "PROPFIND", "PURGE", "get"):
        for path in ("/v2/images", "/nothing", "/"):
            request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            answer = server.exchange(request.encode())
            assert (method, answer[9:12]) == (method, b"501")
            assert b"x-drystone-error: unknown-method" in answer
            assert b"x-openstack-request-id: req-" in answer
    for method in ("TRACE", "OPTIONS"):
        assert server.call(method, "/v2/images").status == 405


def test_the_health_check_says_ok(server: RunningServer) -> None:
    answer = server.call("GET", "/healthcheck")
    assert (answer.status, answer.body) == (200, b"OK")


def test_every_answer_carries_a_request_id(server: RunningServer) -> None:
    for path in ("/", "/v2/images", "/nothing", "/v2/images/x"):
        assert server.call("GET", path).headers["x-openstack-request-id"].startswith("req-")


def test_a_callers_own_request_id_never_becomes_ours(server: RunningServer) -> None:
    def id_for(sent: str) -> str:
        return str(
            server.call("GET", "/versions", headers={"x-openstack-request-id": sent}).headers["x-openstack-request-id"]
        )

    for sent in ("req-6ab3e1e6-6a7a-4b8e-9f5f-0c0b1a2d3e4f", "req-abc", "abc", "req-ü"):
        assert id_for(sent) != sent
        assert re.fullmatch(r"req-[0-9a-f-]{36}", id_for(sent))


def test_another_host_name_is_refused_so_that_no_web_page_gets_in(server: RunningServer) -> None:
    for host in ("evil.example", f"evil.example:{server.port}", "192.0.2.1", "localhost.evil.example", "a@127.0.0.1"):
        for path in ("/v2/images", "/", "/healthcheck"):
            answer = server.call("GET", path, headers={"Host": host})
            assert (answer.status, answer.code) == (403, "host-refused")
    for host in ("localhost", f"127.0.0.1:{server.port}", "127.9.9.9", "[::1]:1", "LOCALHOST:80", "x.localhost"):
        assert server.call("GET", "/v2/images", headers={"Host": host}).status == 200


def test_a_page_of_another_site_is_refused(server: RunningServer) -> None:
    own = f"http://127.0.0.1:{server.port}"
    assert server.call("GET", "/v2/images", headers={"Origin": own}).status == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://["):
        assert server.call("POST", "/v2/images", json_body={}, headers={"Origin": origin}).status == 403


def test_http_1_0_without_a_host_is_served(server: RunningServer) -> None:
    assert b" 200 OK" in server.exchange(b"GET /healthcheck HTTP/1.0\r\n\r\n")


def test_without_a_host_links_lead_to_the_address_that_was_reached(server: RunningServer) -> None:
    for path in ("/", "/versions"):
        answer = server.exchange(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        assert f'"href": "http://127.0.0.1:{server.port}/v2/"'.encode() in answer


def test_host_and_origin_are_checked_without_a_server_too() -> None:
    check_host(None)
    check_origin(None, "127.0.0.1")
    for refused in ("", ":80", "[::1", "169.254.169.254"):
        with pytest.raises(HostRefused):
            check_host(refused)
    with pytest.raises(HostRefused):
        check_origin("", "")


def test_what_is_no_http_is_answered_400_in_the_same_shape(server: RunningServer) -> None:
    for sent in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: ten\r\nHost: localhost\r\n\r\n"):
        answer = server.exchange(sent)
        assert answer[:5] + answer[8:13] == b"HTTP/ 400 "
        assert b'"code": "400 Bad Request"' in answer
        assert b"Server: drystone\r\n" in answer
        assert b"x-openstack-request-id: req-" in answer
        assert b"aiohttp" not in answer.lower()
