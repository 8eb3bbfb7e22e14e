"""Who comes in with what the real Keystone gives out, and who does not any more."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.clients.keystone.conftest import Served
    from tests.kit.real_keystone import Keystone, Login
    from tests.kit.running_server import Answer, RunningServer

pytestmark = pytest.mark.clients
IMAGES = "/v2/images"
SLACK = 1.0


@pytest.fixture(scope="module")
def member(keystone: Keystone) -> Login:
    return keystone.login("mia", "lab", "member")


def ask(server: RunningServer, token: str, path: str = IMAGES, method: str = "GET", **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.call(method, path, headers={"X-Auth-Token": token, **sent})


def create(server: RunningServer, token: str, **headers: str) -> Answer:
    body = json.dumps({"disk_format": "raw", "container_format": "bare"}).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.call("POST", IMAGES, body, {"X-Auth-Token": token, "Content-Type": "application/json", **sent})


def upload(server: RunningServer, token: str, image: str, data: bytes = b"bytes", **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    kind = {"X-Auth-Token": token, "Content-Type": "application/octet-stream"}
    return server.call("PUT", f"{IMAGES}/{image}/file", data, kind | sent)


def told(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.code


def test_three_roles_may_what_the_reference_lets_them(server: RunningServer, keystone: Keystone, member: Login) -> None:
    mine, reads = keystone.token(member), keystone.token(keystone.login("rita", "lab", "reader"))
    rules, other = keystone.token(keystone.admin), keystone.token(keystone.login("otto", "shed", "member"))
    made = create(server, mine)
    image = made.json["id"]
    assert made.json["owner"] == member.project_id
    assert upload(server, mine, image).status == 204
    path = f"{IMAGES}/{image}"
    expected = {mine: (200, 200), reads: (200, 403), rules: (200, 200), other: (404, 404)}
    for token, statuses in expected.items():
        assert (ask(server, token, path).status, ask(server, token, f"{path}/file").status) == statuses
    assert create(server, reads).status == 403
    assert ask(server, reads, path, "DELETE").status == 403
    assert [image["id"] for image in ask(server, reads).json["images"]] == [image]
    assert ask(server, other).json["images"] == []
    assert create(server, rules).json["owner"] == keystone.admin.project_id
    assert ask(server, rules, path, "DELETE").status == 204


def test_a_revoked_token_is_refused_within_the_time_that_it_is_remembered(
    served: Served, keystone: Keystone, member: Login
) -> None:
    remember = 3.0
    with served(remember) as server:
        for in_use in (True, False):
            token = keystone.token(member)
            assert ask(server, token).status == 200
            keystone.revoke(token)
            began = time.monotonic()
            while in_use and ask(server, token).status == 200:
                time.sleep(0.02)
            while not in_use and time.monotonic() - began < remember:
                time.sleep(0.02)
            assert told(ask(server, token)) == (401, "unauthenticated")
            took = time.monotonic() - began
            print(f"revoked-token in_use={in_use} remember={remember:.1f} refused_after={took:.2f}")
            assert took <= remember + SLACK


def test_what_was_disabled_or_taken_away_does_not_let_in_any_more(server: RunningServer, keystone: Keystone) -> None:
    login = keystone.login("dan", "dens", "member")
    token = keystone.token(login)
    assert create(server, token).status == 201
    keystone.call("PATCH", f"/projects/{login.project_id}", {"project": {"enabled": False}})
    assert told(ask(server, token)) == (401, "unauthenticated")
    keystone.call("PATCH", f"/projects/{login.project_id}", {"project": {"enabled": True}})
    token = keystone.token(login)
    keystone.call("PATCH", f"/users/{login.user_id}", {"user": {"enabled": False}})
    assert told(ask(server, token)) == (401, "unauthenticated")
    keystone.call("PATCH", f"/users/{login.user_id}", {"user": {"enabled": True}})
    token = keystone.token(login)
    (role,) = keystone.call("GET", "/roles?name=member").json["roles"]
    keystone.call("DELETE", f"/projects/{login.project_id}/users/{login.user_id}/roles/{role['id']}")
    assert create(server, token).status in {401, 403}
    assert server.call("GET", "/ready").json["checks"][-1]["state"] == "ok"


def test_a_disabled_domain_lets_nobody_in(server: RunningServer, keystone: Keystone) -> None:
    domain = keystone.call("POST", "/domains", {"domain": {"name": "realm"}}).json["domain"]["id"]
    about = {"name": "dora", "domain_id": domain, "password": "p"}
    user = keystone.call("POST", "/users", {"user": about}).json["user"]["id"]
    project = keystone.call("POST", "/projects", {"project": {"name": "r", "domain_id": domain}}).json["project"]["id"]
    (role,) = keystone.call("GET", "/roles?name=member").json["roles"]
    keystone.call("PUT", f"/projects/{project}/users/{user}/roles/{role['id']}")
    keystone.call("PUT", f"/domains/{domain}/users/{user}/roles/{role['id']}")
    by_password = {"methods": ["password"], "password": {"user": {"id": user, "password": "p"}}}

    def token(scope: object) -> str:
        body = {"auth": {"identity": by_password, "scope": scope}}
        return keystone.call("POST", "/auth/tokens", body).headers["X-Subject-Token"]

    scoped = token({"project": {"id": project}})
    assert ask(server, scoped).status == 200
    assert told(ask(server, token({"domain": {"id": domain}}))) == (403, "no-project")
    keystone.call("PATCH", f"/domains/{domain}", {"domain": {"enabled": False}})
    assert told(ask(server, scoped)) == (401, "unauthenticated")


def test_tokens_of_no_project_are_refused(server: RunningServer, keystone: Keystone, member: Login) -> None:
    for token in (
        keystone.token(member, scope="unscoped"),
        keystone.token(keystone.admin, scope={"system": {"all": True}}),
    ):
        assert told(ask(server, token)) == (403, "no-project")
        assert told(create(server, token)) == (403, "no-project")


def test_an_application_credential_is_held_to_its_rules_and_roles(
    server: RunningServer, keystone: Keystone, member: Login
) -> None:
    def rule(method: str, path: str, service: str = "image") -> Mapping[str, str]:
        return {"service": service, "method": method, "path": path}

    image = create(server, keystone.token(member)).json["id"]
    free = keystone.credential_token(keystone.application_credential(member, "free"))
    assert create(server, free).json["owner"] == member.project_id
    (reader,) = keystone.call("GET", "/roles?name=reader").json["roles"]
    weak = keystone.application_credential(member, "weak", roles=[{"id": reader["id"]}])
    assert create(server, keystone.credential_token(weak)).status == 403
    rules = [rule("GET", "/v2/images/{image_id}"), rule("POST", "/v2/servers", "compute")]
    bound = keystone.credential_token(keystone.application_credential(member, "bound", access_rules=rules))
    assert ask(server, bound, f"{IMAGES}/{image}").status == 200
    for answer in (ask(server, bound), create(server, bound), ask(server, bound, f"{IMAGES}/{image}", "DELETE")):
        assert told(answer) == (403, "access-rules-refuse")
    wide = [rule("GET", "/v2/**"), rule("PUT", "/v2/images/*/file")]
    bound = keystone.credential_token(keystone.application_credential(member, "wide", access_rules=wide))
    assert upload(server, bound, image).status == 204
    assert ask(server, bound, f"{IMAGES}/{image}/file").status == 200
    assert told(create(server, bound)) == (403, "access-rules-refuse")
    service = keystone.token(keystone.service)
    assert create(server, bound, X_Service_Token=service).status == 201


@pytest.mark.parametrize(
    "token", ["x", "gAAAAA", "gAAAAABk" + "x" * 180, "." * 255, "{}", "../users", "x" * 256, "x" * 4000, "a?b#c%00"]
)
def test_keystone_refuses_odd_tokens_as_any_other(server: RunningServer, token: str) -> None:
    assert told(ask(server, token)) == (401, "unauthenticated")
    assert server.call("GET", "/ready").json["checks"][-1]["state"] == "ok"


def test_a_service_goes_on_with_a_token_that_has_ended(server: RunningServer, keystone: Keystone) -> None:
    login = keystone.login("sam", "lab", "member")
    service, plain = keystone.token(keystone.service), keystone.token(keystone.login("mia", "lab", "member"))
    token = keystone.short_token(login, 3)
    assert create(server, token).status == 201
    end = datetime.now(UTC) + timedelta(seconds=5)
    while ask(server, token).status == 200:
        assert datetime.now(UTC) < end
        time.sleep(0.1)
    assert told(ask(server, token)) == (401, "unauthenticated")
    made = create(server, token, X_Service_Token=service)
    assert (made.status, made.json["owner"]) == (201, login.project_id)
    assert told(create(server, token, X_Service_Token=plain)) == (401, "unauthenticated")
    keystone.revoke(plain)
    assert told(create(server, keystone.token(login), X_Service_Token=plain)) == (401, "unauthenticated")


def test_an_upload_goes_on_when_its_token_is_revoked_meanwhile(
    server: RunningServer, keystone: Keystone, member: Login
) -> None:
    token = keystone.token(member)
    image = create(server, token).json["id"]
    head = f"PUT {IMAGES}/{image}/file HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {token}\r\nContent-Length: 20\r\n"
    with server.connect() as connection:
        connection.sendall(f"{head}Content-Type: application/octet-stream\r\nConnection: close\r\n\r\n".encode())
        connection.sendall(b"the first ")
        while ask(server, keystone.token(member), f"{IMAGES}/{image}").json["status"] != "saving":
            time.sleep(0.01)
        keystone.revoke(token)
        assert ask(server, token).status == 401
        connection.sendall(b"the second")
        assert connection.recv(100).startswith(b"HTTP/1.1 204 ")


def test_keystone_down_is_503_for_who_is_new_and_no_more_than_that(
    served: Served, keystone: Keystone, member: Login
) -> None:
    known, new = keystone.token(member), keystone.token(member)
    with served(300.0) as server:
        image = create(server, known).json["id"]
        keystone.kill()
        answer = ask(server, new)
        assert (*told(answer), answer.headers["Retry-After"]) == (503, "identity-unavailable", "5")
        assert upload(server, known, image).status == 204
        assert server.call("GET", "/ready").json["checks"][-1]["state"] == "degraded"
        keystone.start()
        assert ask(server, new).status == 200
