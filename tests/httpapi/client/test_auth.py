"""Where passwords go, and where they must not: other hosts, clear text, messages."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Self, TypeVar

import pytest

from catalog.usecases.services import Services
from httpapi.client.api import ImagesApi
from httpapi.client.auth import Access, Login, login_in, place_of
from httpapi.client.errors import (
    AccessRefused,
    ApiError,
    ClientError,
    EndpointRefused,
    InsecureEndpoint,
    Interrupted,
    KeystoneNeeded,
    LoginNeeded,
    TooManyTries,
    Unreachable,
    Untrusted,
)
from tests.kit.authority import Authority
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.new_catalog import new_catalog
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.kit.small_server import SmallServer

T = TypeVar("T")
LOGIN = Login("alice", "wønder:land")


def ask(access: Access | str, step: Callable[[ImagesApi], Awaitable[T]]) -> T:
    async def connected() -> T:
        async with ImagesApi(access, stall_seconds=20) as api:
            return await step(api)

    return asyncio.run(connected())


async def names(api: ImagesApi) -> list[str | None]:
    return [image.name async for image in api.list_images()]


def test_each_request_carries_the_login_and_the_project(small: SmallServer) -> None:
    small.add("disk")
    assert ask(Access(small.url, "", LOGIN, "lab"), names) == ["disk"]
    pair = base64.b64encode("alice:wønder:land".encode()).decode()
    for _, _, headers in small.asked:
        assert (headers["Authorization"], headers["X-Project-Id"]) == (f"Basic {pair}", "lab")


def test_without_a_login_nothing_is_sent_of_one(small: SmallServer) -> None:
    ask(Access(small.url, "", None, "lab"), names)
    assert not any({"Authorization", "X-Project-Id"} & set(headers) for _, _, headers in small.asked)


def test_a_project_that_no_header_can_carry_is_refused() -> None:
    with pytest.raises(AccessRefused, match="a control character"):
        ImagesApi(Access("http://127.0.0.1:9292", "", LOGIN, "lab\n"))


def test_an_address_may_hold_the_login(small: SmallServer) -> None:
    ask(small.url.replace("//", "//alice:w%C3%B8nder%3Aland@"), names)
    assert small.asked[0][2]["Authorization"] == LOGIN.headers(None)["Authorization"]
    assert login_in("http://h") is None


@pytest.mark.parametrize("endpoint", ["http://images.example", "http://192.0.2.1:9292/v2"])
def test_a_password_leaves_this_machine_only_over_tls_or_when_that_is_wanted(endpoint: str) -> None:
    with pytest.raises(InsecureEndpoint, match="use https, or --insecure"):
        ImagesApi(Access(endpoint, "", LOGIN))
    with pytest.raises(InsecureEndpoint):
        ImagesApi(endpoint.replace("//", "//a:b@"))
    ImagesApi(Access(endpoint, "", LOGIN, insecure=True))
    ImagesApi(Access(endpoint, ""))


@pytest.mark.parametrize(
    "endpoint", ["http://localhost", "http://127.8.9.1:1", "http://[::1]:9292", "https://x.example"]
)
def test_loopback_and_tls_carry_passwords(endpoint: str) -> None:
    ImagesApi(Access(endpoint, "", LOGIN))


def test_an_address_has_one_form_under_which_logins_are_kept() -> None:
    assert place_of("HTTPS://me:x@Images.Example:443/v2.3/") == "https://images.example"
    assert place_of("http://[::1]:9292/images/v2") == "http://[::1]:9292/images"
    hidden = ("http://u:hidden@h?q", "http://u:hid@den@h:x", "http://u:hid/den@h", "http://u:12/hid@h")
    for bad in ("ftp://h", "h:1", "http://", "http://h:99999", *hidden):
        with pytest.raises(EndpointRefused) as caught:
            place_of(bad)
        assert "hid" not in str(caught.value)


def test_nothing_shows_the_password() -> None:
    assert "land" not in repr(Access("http://h", "", LOGIN)) + str(LOGIN)


class Answers(BaseHTTPRequestHandler):
    """Versions, and then one answer for everything: `status` and `more` headers."""

    status = 200
    more: tuple[tuple[str, str], ...] = ()
    message = "No"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))  # type: ignore[attr-defined]  # below
        versions = self.path == "/versions"
        document = {"versions": [{"id": "v2.0"}]} if versions else {"message": self.message}
        body = json.dumps(document).encode()
        self.send_response(200 if versions else self.status)
        for name, value in () if versions else self.more:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Answering(HTTPServer):
    """A server on a thread of its own; `asked` holds path and Authorization of each request."""

    def __init__(self, status: int, message: str = "No", **more: str) -> None:
        headers = tuple((name.replace("_", "-"), value) for name, value in more.items())
        kind = type("Kind", (Answers,), {"status": status, "more": headers, "message": message})
        super().__init__(("127.0.0.1", 0), kind)
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


def test_a_redirect_takes_the_password_nowhere() -> None:
    with Answering(200) as other, Answering(302, Location=f"{other.url}/v2/images") as sender:
        with pytest.raises(ApiError, match="the server sends us to"):
            ask(Access(sender.url, "", LOGIN), names)
        assert [path for path, sent in sender.asked if sent] == ["/versions", "/v2/images?limit=100"]
        assert other.asked == []


def refused(status: int, kind: type[ClientError], message: str = "No", **more: str) -> str:
    with Answering(status, message, **more) as server, pytest.raises(kind) as caught:
        ask(Access(server.url, "", LOGIN), names)
    assert "land" not in str(caught.value)
    return str(caught.value)


def test_a_refused_login_says_how_to_log_in() -> None:
    assert refused(401, LoginNeeded, WWW_Authenticate="Basic realm=x") == "No: log in with `drystone login` (HTTP 401)"
    assert "log in by Keystone, with OS_CLOUD" in refused(
        401, KeystoneNeeded, WWW_Authenticate="Keystone uri='http://k'"
    )
    assert refused(403, ApiError) == "No (HTTP 403)"


def test_too_many_tries_say_once_how_long_to_wait() -> None:
    assert refused(429, TooManyTries, Retry_After="42") == "No: wait 42 s before the next try (HTTP 429)"
    assert refused(429, TooManyTries, "Try in 42 s.", Retry_After="42") == "Try in 42 s (HTTP 429)"
    assert refused(429, TooManyTries, Retry_After="Wed, 21 Oct 2026") == "No (HTTP 429)"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secure(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., RunningServer]]:
    """Makes a server that speaks TLS with a certificate of the authority."""
    database = new_catalog(tmp_path / "catalog.sqlite")
    started: list[RunningServer] = []

    def start(host: str = "127.0.0.1", days: int = 30) -> RunningServer:
        services = Services(database=database, blocks=MemoryBlocks())
        server = RunningServer(services, tls=authority.sign(host, days=days).context())
        server.__enter__()
        started.append(server)
        return server

    yield start
    for server in started:
        server.__exit__(None, None, None)
    database.close()


def test_an_authority_of_ones_own_is_trusted_when_it_is_named(
    secure: Callable[..., RunningServer], authority: Authority
) -> None:
    url = f"https://127.0.0.1:{secure().port}"
    assert ask(Access(url, "", LOGIN, cacert=authority.path), names) == []
    with pytest.raises(Untrusted, match=r"is not trusted: .*name that one's file with --cacert FILE"):
        ask(Access(url, "", LOGIN), names)


def test_each_fault_of_a_certificate_has_its_own_advice(
    secure: Callable[..., RunningServer], authority: Authority
) -> None:
    with pytest.raises(Untrusted, match="must renew its certificate"):
        ask(Access(f"https://127.0.0.1:{secure(days=-1).port}", "", cacert=authority.path), names)
    with pytest.raises(Untrusted, match="call the service by a name that its certificate holds"):
        ask(Access(f"https://127.0.0.1:{secure('other.example').port}", "", cacert=authority.path), names)


def test_a_service_without_tls_is_told_apart_from_one_that_is_not_there(small: SmallServer) -> None:
    with pytest.raises(Unreachable, match="without TLS its address begins with http://"):
        ask(small.url.replace("http:", "https:"), names)


def test_a_request_in_the_clear_to_a_service_with_tls_is_told_of_https(secure: Callable[..., RunningServer]) -> None:
    with pytest.raises(Interrupted, match="if the service speaks TLS, its address begins with https://"):
        ask(f"http://127.0.0.1:{secure().port}", names)


def test_a_file_of_authorities_that_is_none_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for name, said in (("no.pem", "holds no certificates in PEM form"), ("none.pem", "cannot be read")):
        with pytest.raises(AccessRefused, match=said):
            ask(Access("https://127.0.0.1:1", "", cacert=tmp_path / name), names)
