"""Identity basic behind a real server: who comes in, who does not, and what each is told."""

from __future__ import annotations

import base64
import json
import logging
from typing import TYPE_CHECKING

import pytest

from httpapi.identity.basic import BasicIdentity
from httpapi.identity.passwords import hash_of
from httpapi.identity.users import UserFiles
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.usecases.services import Services
    from tests.kit.running_server import Answer

PEOPLE = {"alice": "wonder:land", "bøb": "pässwörd", "eve": "apple"}
ACCOUNTS = """
[users.alice]
projects = { lab = ["member"], ops = ["reader"] }
[users."bøb"]
project = "lab"
roles = ["reader"]
[users.eve]
project = "garden"
roles = ["member"]
"""


@pytest.fixture
def users(tmp_path: Path) -> UserFiles:
    path = tmp_path / "htpasswd"
    path.write_text("".join(f"{name}:{hash_of(password, cost=4)}\n" for name, password in PEOPLE.items()))
    (tmp_path / "accounts.toml").write_text(ACCOUNTS)
    return UserFiles(path)


@pytest.fixture
def guarded(services: Services, users: UserFiles) -> Iterator[RunningServer]:
    with RunningServer(services, identity=BasicIdentity(users)) as running:
        yield running


def basic(user: str, password: str | None = None) -> dict[str, str]:
    pair = f"{user}:{PEOPLE[user] if password is None else password}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def create(server: RunningServer, headers: dict[str, str]) -> Answer:
    body = json.dumps({"disk_format": "raw", "container_format": "bare"}).encode()
    return server.call("POST", "/v2/images", body, headers={"Content-Type": "application/json", **headers})


def test_discovery_and_health_are_open_and_everything_else_is_not(guarded: RunningServer) -> None:
    for path in ("/", "/versions", "/v2", "/healthcheck", "/v3"):
        assert guarded.call("GET", path).status in {200, 300}
    for method, path in (("GET", "/v2/images"), ("GET", "/v2/images/x"), ("PUT", "/v2/images/x/file")):
        answer = guarded.call(method, path)
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="drystone", charset="UTF-8"'
        assert set(answer.json) == {"message", "code", "title"}
        assert answer.headers["x-openstack-request-id"].startswith("req-")


def test_an_upload_of_a_stranger_is_refused_before_its_bytes(guarded: RunningServer) -> None:
    head = b"PUT /v2/images/x/file HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    answer = guarded.answer_before_body(head)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in answer


def test_users_see_their_own_projects_images_and_not_each_others(guarded: RunningServer) -> None:
    mine = create(guarded, basic("alice")).json
    assert mine["owner"] == "lab"
    path = f"/v2/images/{mine['id']}"
    assert guarded.call("GET", path, headers=basic("bøb")).status == 200
    assert guarded.call("GET", path, headers=basic("eve")).status == 404
    assert guarded.call("DELETE", path, headers=basic("bøb")).status == 403
    assert guarded.call("DELETE", path, headers=basic("alice")).status == 204


def test_a_request_may_name_another_project_of_its_user(guarded: RunningServer) -> None:
    image = create(guarded, basic("alice")).json
    ops = {**basic("alice"), "X-Project-Id": "ops"}
    assert guarded.call("GET", f"/v2/images/{image['id']}", headers=ops).status == 404
    assert create(guarded, ops).status == 403
    answer = guarded.call("GET", "/v2/images", headers={**basic("alice"), "X-Project-Id": "garden"})
    assert (answer.status, answer.code) == (403, "project-refused")
    assert "name one of lab, ops" in answer.json["message"]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("Bearer abc", "takes no Authorization but Basic"),
        ("Basic", "not the base64"),
        ("Basic !!!!", "not the base64"),
        ("Basic YWxpY2U=", "not the base64"),
        ("Basic " + base64.b64encode(b"b\xf8b:x").decode(), "not the base64"),
        ("Basic " + base64.b64encode(b":").decode(), "Wrong user or password"),
        ("basic  " + base64.b64encode(b"alice:" + b"x" * 80).decode(), "Wrong user or password"),
        ("Basic " + base64.b64encode(b"nobody:x\0y").decode(), "Wrong user or password"),
    ],
)
def test_what_cannot_be_a_login_is_401_with_a_reason(guarded: RunningServer, header: str, said: str) -> None:
    answer = guarded.call("GET", "/v2/images", headers={"Authorization": header})
    assert answer.status == 401
    assert said in answer.json["message"]


def test_a_token_is_told_that_it_is_none(guarded: RunningServer) -> None:
    answer = guarded.call("GET", "/v2/images", headers={"X-Auth-Token": "gAAAA"})
    assert "knows no tokens" in answer.json["message"]


def test_an_unknown_user_and_a_wrong_password_get_the_same_answer(guarded: RunningServer) -> None:
    wrong, unknown = (guarded.call("GET", "/v2/images", headers=basic(user, "x")) for user in ("alice", "nobody"))
    assert (wrong.status, wrong.body) == (unknown.status, unknown.body)


def test_guessing_is_stopped_with_the_time_to_wait(guarded: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert guarded.call("GET", "/v2/images", headers=basic("alice")).status == 200
    guesses = [guarded.call("GET", "/v2/images", headers=basic("alice", f"guess{n}")) for n in range(7)]
    assert [answer.status for answer in guesses] == [401] * 5 + [429] * 2
    assert guesses[-1].code == "too-many-logins"
    assert 0 < int(guesses[-1].headers["Retry-After"]) <= 60
    assert guarded.call("GET", "/v2/images", headers=basic("alice")).status == 200
    assert guarded.call("GET", "/v2/images", headers=basic("eve")).status == 200
    assert "A login of 'alice' from 127.0.0.1 has failed." in caplog.text
    assert "guess" not in caplog.text
    assert "wonder" not in caplog.text


def test_a_removed_user_and_a_changed_password_count_at_once(guarded: RunningServer, users: UserFiles) -> None:
    assert guarded.call("GET", "/v2/images", headers=basic("alice")).status == 200
    users.passwords.write_text(f"alice:{hash_of('new', cost=4)}\n")
    users.look()
    assert guarded.call("GET", "/v2/images", headers=basic("alice")).status == 401
    assert guarded.call("GET", "/v2/images", headers=basic("alice", "new")).status == 200
    assert guarded.call("GET", "/v2/images", headers=basic("eve")).status == 401


def test_a_page_of_another_site_may_read_and_change_nothing(guarded: RunningServer) -> None:
    own = f"http://127.0.0.1:{guarded.port}"
    for ours in ({"Origin": own}, {"Sec-Fetch-Site": "same-origin", "Origin": own}, {"Sec-Fetch-Site": "none"}, {}):
        assert create(guarded, {**basic("alice"), **ours}).status == 201
    for theirs in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": own},
    ):
        answer = create(guarded, {**basic("alice"), **theirs})
        assert (answer.status, answer.code) == (403, "host-refused")
        assert guarded.call("GET", "/v2/images", headers={**basic("alice"), **theirs}).status == 200


def test_any_host_name_is_served(guarded: RunningServer) -> None:
    headers = {**basic("alice"), "Host": "images.example.org"}
    assert guarded.call("GET", "/v2/images", headers=headers).status == 200
    assert create(guarded, {**headers, "Origin": "https://images.example.org"}).status == 201
