"""Identity keystone behind a real server, with a Keystone that fails in every way: nobody is let in by mistake."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from httpapi.handlers.probes import ProbeHandlers
from httpapi.health import Health
from httpapi.identity import keystone_api
from httpapi.identity.keystone import KeystoneIdentity
from httpapi.identity.keystone_api import KeystoneApi, ServiceUser
from httpapi.metrics.scrape import Scrape
from tests.kit.authority import Authority
from tests.kit.played_keystone import PASSWORD, PlayedKeystone, refusal, told
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from catalog.usecases.services import Services
    from tests.kit.running_server import Answer

IMAGES = "/v2/images"


def identity_of(
    url: str, *, password: str = PASSWORD, timeout: float = 5.0, ca: Path | None = None
) -> KeystoneIdentity:
    api = KeystoneApi(url, ServiceUser("drystone", password), timeout=timeout, ca_file=ca)
    return KeystoneIdentity(api, public_url="https://keys.example.org/v3", service_roles=frozenset({"service"}))


@pytest.fixture
def played() -> Iterator[PlayedKeystone]:
    with PlayedKeystone() as keystone:
        keystone.tokens = {
            "member": told("ann", "lab", "member", "reader"),
            "reader": told("rob", "lab", "Reader"),
            "admin": told("adam", "ops", "admin"),
            "nova": told("nova", "service", "service"),
            "unscoped": told("ann", None),
            "system": told("adam", None, "admin", system={"all": True}),
            "domain": told("dora", None, "admin", domain={"id": "d", "name": "D"}),
        }
        keystone.expired = {"late": told("ann", "lab", "member", seconds=-60)}
        yield keystone


@pytest.fixture
def server(services: Services, played: PlayedKeystone) -> Iterator[RunningServer]:
    identity = identity_of(played.url)
    probes = ProbeHandlers(Health(services, identity=identity), Scrape(services), "open")
    with RunningServer(services, identity=identity, probes=probes) as running:
        yield running


def ask(server: RunningServer, token: str, path: str = IMAGES, method: str = "GET", **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.call(method, path, headers={"X-Auth-Token": token, **sent})


def create(server: RunningServer, token: str, **headers: str) -> Answer:
    body = json.dumps({"disk_format": "raw", "container_format": "bare"}).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.call("POST", IMAGES, body, {"X-Auth-Token": token, "Content-Type": "application/json", **sent})


def is_unavailable(answer: Answer) -> bool:
    return (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "identity-unavailable", "5")


def test_discovery_is_open_and_the_rest_says_where_to_get_a_token(server: RunningServer) -> None:
    for path in ("/", "/versions", "/v2", "/healthcheck", "/openapi.json"):
        assert server.call("GET", path).status in {200, 300}
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"X-Service-Token": "nova"}, {"X-Auth-Token": "unknown"}):
        answer = server.call("GET", IMAGES, headers=headers)
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == 'Keystone uri="https://keys.example.org/v3"'


def test_user_project_and_roles_are_keystones(server: RunningServer) -> None:
    made = create(server, "member").json
    assert made["owner"] == "lab"
    assert create(server, "reader").status == 403
    assert [image["id"] for image in ask(server, "reader").json["images"]] == [made["id"]]
    assert [image["id"] for image in ask(server, "admin").json["images"]] == [made["id"]]
    assert create(server, "admin").json["owner"] == "ops"


def test_what_a_client_says_of_itself_counts_for_nothing(server: RunningServer) -> None:
    lies = {
        "X_Roles": "admin",
        "X_Role": "admin",
        "X_Project_Id": "ops",
        "X_Tenant_Id": "ops",
        "X_User_Id": "adam",
        "X_Identity_Status": "Confirmed",
        "X_Service_Roles": "service",
        "X_Service_Identity_Status": "Confirmed",
        "X_Is_Admin_Project": "True",
        "OpenStack_System_Scope": "all",
    }
    assert server.call("GET", IMAGES, headers={k.replace("_", "-"): v for k, v in lies.items()}).status == 401
    assert ask(server, "unknown", **lies).status == 401
    assert create(server, "reader", **lies).status == 403
    assert create(server, "member", **lies).json["owner"] == "lab"


def test_a_token_of_no_project_is_refused(server: RunningServer) -> None:
    for token in ("unscoped", "system", "domain"):
        answer = ask(server, token)
        assert (answer.status, answer.code) == (403, "no-project")


def test_another_services_user_is_a_caller_like_others_and_has_no_rights_by_it(server: RunningServer) -> None:
    assert ask(server, "nova").status == 403
    assert create(server, "nova").status == 403


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b" ",
        b"a b",
        b"a\tb",
        b"\xc3\xa9",
        b"\xff\xfe",
        b"../../users",
        b"member?allow_expired=1",
        b"%0d%0aX-Auth-Token: admin",
        b"x" * 7900,
        b"{}",
        b"null",
    ],
)
def test_odd_tokens_are_refused(server: RunningServer, played: PlayedKeystone, token: bytes) -> None:
    head = b"GET /v2/images HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Auth-Token: " + token + b"\r\n\r\n"
    assert server.exchange(head).startswith(b"HTTP/1.1 401 ")
    assert all(set(asked) <= set(map(chr, range(0x21, 0x7F))) for asked in played.asked)


@pytest.mark.parametrize(
    "token", [b"x" * 60_000, b"member\x7f", b"member\r\nX-Roles: admin\x00", b"member\rX-Roles: admin"]
)
def test_tokens_that_are_no_header_are_bad_requests(server: RunningServer, token: bytes) -> None:
    head = b"GET /v2/images HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Auth-Token: " + token + b"\r\n\r\n"
    assert server.exchange(head, end=False).split()[1] == b"400"


def test_a_token_of_a_mebibyte_is_not_taken(server: RunningServer, played: PlayedKeystone) -> None:
    head = b"GET /v2/images HTTP/1.1\r\nHost: h\r\nX-Auth-Token: " + b"x" * (1 << 20) + b"\r\n\r\n"
    with contextlib.suppress(ConnectionError):
        assert server.exchange(head, end=False).split()[1] == b"400"
    assert not played.asked
    assert ask(server, "member").status == 200


def test_keystone_is_asked_once_and_told_of_access_rules(server: RunningServer, played: PlayedKeystone) -> None:
    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: ask(server, "member").status, range(60)))
    assert answers == [200] * 60
    assert (played.asked["login"], played.asked["member"]) == (1, 1)
    assert played.headers[-1]["OpenStack-Identity-Access-Rules"] == "1.0"
    figures = server.call("GET", "/metrics").body.decode()
    assert 'drystone_token_validations_total{result="valid"}' in figures


def test_services_may_use_a_token_that_has_expired_and_nobody_else(
    server: RunningServer, played: PlayedKeystone
) -> None:
    assert ask(server, "late").status == 401
    assert create(server, "late", X_Service_Token="nova").json["owner"] == "lab"
    answer = ask(server, "member", X_Service_Token="unknown")
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert "X-Service-Token" in answer.json["message"]
    for token in ("late", "member"):
        answer = ask(server, token, X_Service_Token="member")
        assert answer.status == 401
        assert "lacks the role service" in answer.json["message"]
    played.expired["late-service"] = told("nova", "service", "service", seconds=-60)
    assert ask(server, "member", X_Service_Token="late-service").status == 401
    assert ask(server, "member", X_Service_Token="").status == 401


def test_access_rules_bound_a_token_and_not_what_a_service_does_with_it(
    server: RunningServer, played: PlayedKeystone
) -> None:
    rules = [
        {"id": "1", "service": "image", "method": "GET", "path": "/v2/images"},
        {"id": "2", "service": "image", "method": "GET", "path": "/v2/images/{image_id}"},
        {"id": "3", "service": "compute", "method": "DELETE", "path": "/v2/images/*"},
    ]
    played.tokens["bound"] = told("ann", "lab", "member", application_credential={"id": "c", "access_rules": rules})
    played.tokens["no rules"] = told("ann", "lab", "member", application_credential={"id": "c", "access_rules": []})
    played.tokens["nothing"] = played.tokens["no rules"]
    played.tokens["free"] = told("ann", "lab", "member", application_credential={"id": "c", "restricted": True})
    image = create(server, "free").json["id"]
    assert ask(server, "bound", f"{IMAGES}?limit=1").status == 200
    assert ask(server, "bound", f"{IMAGES}/{image}").status == 200
    for method, path in (
        ("GET", f"{IMAGES}/{image}/file"),
        ("GET", f"{IMAGES}/{image}%2Ffile/file"),
        ("HEAD", f"{IMAGES}/{image}/file"),
        ("DELETE", f"{IMAGES}/{image}"),
        ("GET", f"/v2.1/images/{image}"),
        ("GET", "/v2/schemas/image"),
    ):
        answer = ask(server, "bound", path, method)
        assert (answer.status, answer.code) == (403, "access-rules-refuse"), path
    assert create(server, "bound").status == 403
    assert ask(server, "nothing").status == 403
    assert create(server, "bound", X_Service_Token="nova").status == 201
    assert ask(server, "bound", f"{IMAGES}/{image}", "DELETE").status == 403


def test_a_services_token_is_held_to_its_own_access_rules(server: RunningServer, played: PlayedKeystone) -> None:
    rules = [{"id": "1", "service": "compute", "method": "GET", "path": "/v2.1/servers"}]
    bound = {"id": "c", "access_rules": rules}
    played.tokens["bound-nova"] = told("nova", "service", "service", application_credential=bound)
    answer = create(server, "member", X_Service_Token="bound-nova")
    assert (answer.status, answer.code) == (403, "access-rules-refuse")
    assert ask(server, "late", X_Service_Token="bound-nova").status == 403


def test_no_rule_that_a_user_may_write_looks_like_trouble_with_keystone(
    server: RunningServer, played: PlayedKeystone
) -> None:
    odd = [{"id": "1", "service": "image", "method": "GET", "path": "/v2/\u200b\u00a0\n"}]
    sound = [{"id": "2", "service": "image", "method": "GET", "path": "/v2/images"}]
    for name, rules in {"odd": odd, "both": odd + sound}.items():
        played.tokens[name] = told("ann", "lab", "member", application_credential={"id": "c", "access_rules": rules})
    assert ask(server, "odd").code == "access-rules-refuse"
    assert ask(server, "both").status == 200
    assert server.call("GET", "/ready").json["checks"][-1]["state"] == "ok"


async def nonsense(_: web.Request) -> web.Response:
    return web.Response(text='{"token": {"user": "admin"}}', content_type="application/json")


async def a_page(_: web.Request) -> web.Response:
    return web.Response(text="<html>it works</html>", content_type="text/html")


async def a_proxys_404(_: web.Request) -> web.Response:
    return web.Response(status=404, text="<html>no such page</html>", content_type="text/html")


async def elsewhere(request: web.Request) -> web.Response:
    raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{request.url.port}/v3/auth/tokens?again")


async def huge(_: web.Request) -> web.Response:
    return web.Response(body=b'{"token": "' + b"x" * (2 << 20) + b'"}', content_type="application/json")


async def deep(_: web.Request) -> web.Response:
    return web.Response(body=b"[" * 200_000, content_type="application/json")


async def broken(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"token"')
    request.transport.abort() if request.transport else None
    return response


def status(code: int) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return refusal(code)

    return answer


FAILURES = {
    "nonsense": nonsense,
    "a page": a_page,
    "a proxy's 404": a_proxys_404,
    "elsewhere": elsewhere,
    "huge": huge,
    "deep": deep,
    "broken": broken,
    **{str(code): status(code) for code in (204, 300, 400, 401, 403, 429, 500, 502, 503)},
}


@pytest.mark.parametrize("name", FAILURES)
def test_whatever_keystone_answers_instead_nobody_new_is_let_in_and_those_remembered_go_on(
    server: RunningServer, played: PlayedKeystone, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert ask(server, "member").status == 200
    played.fail = FAILURES[name]
    assert is_unavailable(ask(server, "admin"))
    assert is_unavailable(ask(server, "unknown"))
    assert is_unavailable(ask(server, "member", X_Service_Token="nova"))
    assert ask(server, "member").status == 200
    ready = server.call("GET", "/ready")
    assert ready.status == 200
    assert {"name": "identity", "state": "degraded"}.items() <= ready.json["checks"][-1].items()
    played.fail = None
    assert ask(server, "admin").status == 200
    assert played.asked["login"] == 1
    lines = [line.getMessage() for line in caplog.records if line.name == "drystone.identity"]
    assert len(lines) == 2, lines
    assert lines[-1] == "Keystone answers again."
    assert "service-token" not in caplog.text
    assert PASSWORD not in caplog.text


def test_a_refused_connection_and_silence_are_503_and_it_works_at_once_afterwards(
    services: Services, played: PlayedKeystone
) -> None:
    with RunningServer(services, identity=identity_of(played.url, timeout=0.5)) as server:
        assert ask(server, "member").status == 200
        played.stop()
        assert is_unavailable(ask(server, "admin"))
        assert ask(server, "member").status == 200
        played.start()
        assert ask(server, "admin").status == 200
        played.delay = 3
        assert is_unavailable(ask(server, "reader"))
        played.delay = 0
        assert ask(server, "reader").status == 200


def test_ready_finds_out_by_itself_that_keystone_is_back(
    server: RunningServer, played: PlayedKeystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("httpapi.health.FRESH", 0.0)
    played.fail = FAILURES["500"]
    assert is_unavailable(ask(server, "member"))
    assert server.call("GET", "/ready").json["checks"][-1]["state"] == "degraded"
    played.fail = None
    assert server.call("GET", "/ready").json["checks"][-1] == {"name": "identity", "state": "ok"}


def test_the_service_user_logs_in_anew_before_its_token_ends_and_when_it_is_refused(
    server: RunningServer, played: PlayedKeystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystone_api, "_PAUSE", 0.0)
    played.own_seconds = 0.5
    assert ask(server, "member").status == 200
    threading.Event().wait(0.5)
    assert ask(server, "reader").status == 200
    assert played.asked["login"] == 2
    played.own_seconds = 3600
    threading.Event().wait(0.5)
    assert ask(server, "admin").status == 200
    assert played.asked["login"] == 3
    played.forget_service_tokens()
    assert ask(server, "nova").status == 403
    assert ask(server, "unscoped").status == 403
    assert (played.asked["login"], played.asked["nova"], played.asked["unscoped"]) == (4, 2, 1)


def test_a_clock_that_is_ahead_does_not_make_a_login_of_each_question(
    server: RunningServer, played: PlayedKeystone
) -> None:
    played.own_seconds = -3600
    for token in ("member", "reader", "admin"):
        assert ask(server, token).status == 200
    assert played.asked["login"] == 1


def test_a_wrong_password_of_ours_is_no_401_for_callers_and_is_not_tried_with_each_request(
    services: Services, played: PlayedKeystone, caplog: pytest.LogCaptureFixture
) -> None:
    with RunningServer(services, identity=identity_of(played.url, password="a wrong one")) as server:
        for _ in range(5):
            assert is_unavailable(ask(server, "member"))
    assert played.asked == {"login": 1}
    assert "Keystone refuses the user 'drystone'" in caplog.text
    assert "a wrong one" not in caplog.text


def test_keystones_certificate_is_checked(services: Services, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with PlayedKeystone(tls=authority.sign().context()) as played:
        played.tokens = {"member": told("ann", "lab", "member")}
        with RunningServer(services, identity=identity_of(played.url)) as server:
            assert is_unavailable(ask(server, "member"))
        assert not played.asked
        with RunningServer(services, identity=identity_of(played.url, ca=authority.path)) as server:
            assert ask(server, "member").status == 200


def test_an_upload_of_a_stranger_is_refused_before_its_bytes(server: RunningServer) -> None:
    head = b"PUT /v2/images/x/file HTTP/1.1\r\nHost: h\r\nX-Auth-Token: no\r\nContent-Length: 9\r\nExpect: 100-continue"
    answer = server.answer_before_body(head + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in answer


def test_a_thousand_bad_tokens_at_once_do_not_become_a_thousand_connections(
    server: RunningServer, played: PlayedKeystone
) -> None:
    played.delay = 0.05
    assert ask(server, "member").status == 200

    async def flood() -> list[int]:
        async def one(number: int) -> int:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            head = f"GET /v2/images HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Auth-Token: bad{number}\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.read()
            writer.close()
            return int(answer.split()[1])

        return await asyncio.gather(*(one(number) for number in range(400)))

    found = asyncio.run(flood())
    assert set(found) <= {401, 503}
    assert found.count(401) >= 256
    assert ask(server, "member").status == 200
    assert played.asked["member"] == 1
