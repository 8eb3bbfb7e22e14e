"""Signed URLs and cookies on the wire: what they answer, when they don't, and where they are never written."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from httpapi.access_log import logged_path
from httpapi.proxies import WayIn
from httpapi.wire.errors import Unauthenticated
from tests.httpapi.test_download import DATA, active
from tests.kit.memory_keys import MemoryKeys
from tests.kit.running_server import ADMIN, RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.model.caller import Caller
    from catalog.usecases.services import Services
    from httpapi.identity.contract import Arrival
    from tests.kit.running_server import Answer


class TokensAlone:
    """An identity that wants a token, `open-sesame`."""

    describe, reaches_beyond_loopback, takes_passwords = "tokens", True, True

    def admit(self, arrival: Arrival) -> None:
        pass

    async def identify(self, arrival: Arrival) -> Caller:
        if arrival.headers.get("x-auth-token") != "open-sesame":
            raise Unauthenticated("Who are you?", challenge="Keystone")
        return ADMIN


@pytest.fixture
def keys() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def server(services: Services, keys: MemoryKeys) -> Iterator[RunningServer]:
    with RunningServer(replace(services, url_keys=keys)) as running:
        yield running


@pytest.fixture
def guarded(services: Services, server: RunningServer) -> Iterator[RunningServer]:
    """The same images, behind an identity."""
    with RunningServer(server.services, identity=TokensAlone()) as running:
        yield running


def sign(server: RunningServer, image_id: str, **asked: object) -> dict[str, str]:
    answer = server.call("POST", f"/v2/images/{image_id}/actions/sign", json_body=asked)
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    found: dict[str, str] = answer.json
    return found


def path_in(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def refused(answer: Answer) -> bool:
    return (answer.status, answer.code) == (403, "ticket-refused")


def test_a_signed_url_reads_the_image_without_a_login(server: RunningServer, guarded: RunningServer) -> None:
    image_id = active(server)
    signed = sign(server, image_id, expires=60)
    assert signed["url"].startswith(f"http://127.0.0.1:{server.port}/signed/dsu1")
    path = path_in(signed["url"])
    assert guarded.call("GET", f"/v2/images/{image_id}/file").status == 401
    whole = guarded.call("GET", path)
    head = guarded.call("HEAD", path)
    part = guarded.call("GET", path, headers={"Range": "bytes=2-4", "If-Range": f'"{image_id}"'})
    other = guarded.call("GET", path, headers={"Range": "bytes=2-4", "If-Range": '"other"'})
    assert (whole.status, whole.body, head.status, head.body) == (200, DATA, 200, b"")
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert (other.status, other.body) == (200, DATA)
    for answer in (whole, head, part):
        assert answer.headers["ETag"] == f'"{image_id}"'
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "private"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert head.headers["Content-Length"] == "10"
    assert guarded.call("GET", path, headers={"If-None-Match": f'"{image_id}"'}).status == 304
    assert guarded.call("GET", path, headers={"Range": "bytes=10-"}).status == 416


def test_every_character_of_ticket_and_name_counts(server: RunningServer) -> None:
    path = path_in(sign(server, active(server), expires=60)["url"])
    start = len("/signed/")
    for at in range(start, len(path)):
        if path[at] != "/":
            other = "A" if path[at] != "A" else "B"
            assert refused(server.call("GET", path[:at] + other + path[at + 1 :])), at
    first = path[start]
    assert refused(server.call("GET", f"/signed/%{ord(first):02x}{path[start + 1 :]}"))
    assert refused(server.call("GET", path.removesuffix("raw") + "r%61w"))
    assert server.call("GET", path + "/").status == 404
    for verb in ("PUT", "POST", "DELETE", "PATCH"):
        assert server.call(verb, path).status == 405
    assert server.call("GET", path).body == DATA


def test_a_url_of_another_service_or_of_a_key_that_is_gone_is_refused(
    server: RunningServer, services: Services, keys: MemoryKeys
) -> None:
    image_id = active(server)
    path = path_in(sign(server, image_id)["url"])
    with RunningServer(replace(services, url_keys=MemoryKeys())) as other:
        assert refused(other.call("GET", path))
    keys.keys.clear()
    assert refused(server.call("GET", path))
    assert server.call("HEAD", path).status == 403


def test_an_image_that_is_deactivated_or_deleted_answers_as_one_that_never_was(server: RunningServer) -> None:
    image_id = active(server)
    path = path_in(sign(server, image_id)["url"])
    nonsense = server.call("GET", "/signed/nonsense/disk.raw")
    server.call("POST", f"/v2/images/{image_id}/actions/deactivate")
    asleep = server.call("GET", path)
    server.call("DELETE", f"/v2/images/{image_id}")
    gone = server.call("GET", path)
    assert all(map(refused, (nonsense, asleep, gone)))
    assert nonsense.body == asleep.body == gone.body


def test_the_cookie_reads_that_image_and_nothing_else(server: RunningServer, guarded: RunningServer) -> None:
    image_id, other = active(server), active(server)
    signed = sign(server, image_id)
    cookie = {"Cookie": signed["cookie"]}
    path = f"/v2/images/{image_id}/file"
    assert path_in(signed["cookie_url"]) == path
    part = guarded.call("GET", path, headers=cookie | {"Range": "bytes=0-1"})
    assert (part.status, part.body, part.headers["Referrer-Policy"]) == (206, b"01", "no-referrer")
    assert guarded.call("HEAD", path, headers=cookie).headers["Content-Length"] == "10"
    assert refused(guarded.call("GET", f"/v2/images/{other}/file", headers=cookie))
    assert refused(guarded.call("GET", path, headers={"Cookie": "drystone=nonsense"}))
    assert refused(guarded.call("GET", path, headers={"Cookie": f"drystone={signed['url'].split('/')[4]}"}))
    assert refused(guarded.call("GET", f"/signed/{signed['cookie'].partition('=')[2]}/disk.raw"))
    for verb, below in (
        ("PUT", "/file"), ("GET", ""), ("DELETE", ""), ("PATCH", ""), ("GET", "/manifest"), ("POST", "/actions/sign"),
    ):  # fmt: skip
        assert guarded.call(verb, f"/v2/images/{image_id}{below}", headers=cookie).status == 401, (verb, below)
    # Who brings a login is who that says.
    assert guarded.call("GET", path, headers=cookie | {"X-Auth-Token": "wrong"}).status == 401


def test_a_token_may_come_as_a_cookie_where_bytes_are_read(server: RunningServer, guarded: RunningServer) -> None:
    image_id = active(server)
    path = f"/v2/images/{image_id}/file"
    cookie = {"Cookie": "a=b; X-Auth-Token=open-sesame"}
    assert guarded.call("GET", path, headers=cookie).body == DATA
    assert guarded.call("HEAD", path, headers=cookie).status == 200
    assert guarded.call("GET", path, headers={"Cookie": "X-Auth-Token=wrong"}).status == 401
    assert guarded.call("GET", path, headers=cookie | {"X-Auth-Token": "wrong"}).status == 401
    for verb, below in (("PUT", "/file"), ("GET", ""), ("POST", "/actions/sign")):
        assert guarded.call(verb, f"/v2/images/{image_id}{below}", headers=cookie).status == 401


def test_what_is_told_begins_where_the_client_is(services: Services) -> None:
    signing = replace(services, url_keys=MemoryKeys())
    with RunningServer(signing, way_in=WayIn("https://images.example.org/drystone")) as server:
        signed = sign(server, image_id := active(server))
        assert signed["url"].startswith("https://images.example.org/drystone/signed/dsu1")
        assert signed["cookie_url"] == f"https://images.example.org/drystone/v2/images/{image_id}/file"


def test_a_request_that_says_nonsense_is_signed_nothing(server: RunningServer) -> None:
    image_id = active(server)
    path = f"/v2/images/{image_id}/actions/sign"
    assert server.call("POST", path).status == 200
    bodies: tuple[object, ...] = ({"expires": "soon"}, {"expires": 0}, {"expires": 10**9}, {"expire": 5}, [])
    for body in bodies:
        answer = server.call("POST", path, json_body=body)
        assert (answer.status, answer.code) in {(400, "invalid"), (400, "bad-request")}, body
    assert server.call("POST", path, b"{").status == 400
    assert server.call("POST", f"/v2/images/{server.new_image()}/actions/sign").status == 409


def test_without_keys_nothing_is_signed_and_nothing_read(services: Services) -> None:
    with RunningServer(services) as server:
        image_id = active(server)
        answer = server.call("POST", f"/v2/images/{image_id}/actions/sign")
        assert (answer.status, answer.code) == (403, "forbidden")
        assert refused(server.call("GET", "/signed/nonsense/disk.raw"))


def test_a_ticket_stands_in_no_line_of_the_log_and_no_error(
    server: RunningServer, caplog: pytest.LogCaptureFixture, keys: MemoryKeys
) -> None:
    image_id = active(server)
    signed = sign(server, image_id)
    path, cookie = path_in(signed["url"]), signed["cookie"]
    ticket = path.split("/")[2]
    answers: list[Answer] = []
    with caplog.at_level(logging.DEBUG):
        for asked in (
            path, f"{path}?a={ticket}", f"/{path}", f"{path}/more", f"/else/{ticket}", path.replace("dsu1", "Dsu1"),
            path.replace("dsu1", "%64su1"), path.replace("/signed", "/%73igned"), path.replace("image", "imago"),
            f"/signed/{ticket[:-1]}/disk.raw", f"/signed/{ticket[1:]}/disk.raw",
        ):  # fmt: skip
            answers += [server.call(verb, asked) for verb in ("GET", "HEAD", "PUT")]
        answers.append(server.call("GET", f"/v2/images/{image_id}/file", headers={"Cookie": cookie}))
        answers.append(server.call("GET", f"/v2/images/{image_id}/file", headers={"Cookie": cookie[:-1]}))
    # A part of the sum would be as good as all of it.
    for secret in (ticket[-20:-1], cookie[-20:-1]):
        assert secret not in caplog.text
        for answer in answers:
            assert secret.encode() not in answer.body
            assert secret not in str(answer.headers)
    [key_id] = keys.keys
    lines = [line for line in caplog.messages if f"/signed/{key_id.hex()}.{image_id}/image.raw 200 10 bytes" in line]
    assert len(lines) == 3
    assert lines[0].endswith(f" key:{key_id.hex()}")


def test_paths_without_tickets_are_logged_as_they_were_sent() -> None:
    for path in ("/v2/images", "/v2/images/a%2Fb", "/signed", "/", "/v2/images/x/tags/resigned"):
        assert logged_path(path) == path
    assert logged_path("/signed/nonsense/disk.raw") == "/signed/(hidden)/disk.raw"
