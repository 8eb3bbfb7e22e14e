from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from httpapi.client.auth import Access, Login
from httpapi.client.errors import ApiError, Conflict, InsecureEndpoint, Interrupted, NotAnImageService, NotFound
from httpapi.client.quick_api import QuickApi
from tests.kit.authority import Authority
from tests.kit.image_service import image_service
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.small_server import SmallServer

ID = "11111111-2222-3333-4444-555555555555"


def at(url: str) -> QuickApi:
    return QuickApi(Access(url, "a test"))


@pytest.mark.parametrize("suffix", ["", "/", "/v2", "/v2.7"])
def test_requests_of_one_connection_are_answered_as_by_the_other_client(small: SmallServer, suffix: str) -> None:
    image = small.add("disk")
    with at(small.url + suffix) as api:
        assert api.ask("GET", f"/images/{image}")["name"] == "disk"
        assert api.ask("POST", "/images", {"id": ID, "name": "new"})["id"] == ID
        with pytest.raises(Conflict, match="already exists"):
            api.ask("POST", "/images", {"id": ID, "name": "new"})
        with pytest.raises(NotFound, match="request req-7"):
            api.ask("GET", f"/images/{ID[::-1]}")
        assert api.ask("DELETE", f"/images/{ID}") == {}


def test_a_login_goes_along_and_never_in_the_clear(small: SmallServer) -> None:
    image = small.add("disk")
    with QuickApi(Access(small.url, "a test", Login("ann", "secret"), "project-1")) as api:
        api.ask("GET", f"/images/{image}")
    headers = small.asked[-1][2]
    assert headers["Authorization"].startswith("Basic ")
    assert headers["X-Project-Id"] == "project-1"
    with pytest.raises(InsecureEndpoint):
        at("http://ann:secret@images.example")


def test_an_address_in_brackets_needs_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def connect(address: object, *_: object, **__: object) -> None:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", connect)
    for url in ("http://[::1]", "https://[2001:db8::443]"):
        with at(url) as api, pytest.raises(Interrupted):
            api.ask("GET", "/images")
    assert asked == [("::1", 80), ("2001:db8::443", 443)]


def test_tls_is_checked(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.sign("127.0.0.1").context()
    with image_service(tmp_path / "data") as service, RunningServer(service.services, tls=tls) as server:
        url = f"https://127.0.0.1:{server.port}"
        with QuickApi(Access(url, "a test", cacert=authority.path)) as api:
            assert api.ask("GET", "/images")["images"] == []
        with at(url) as api, pytest.raises(Interrupted, match="CERTIFICATE_VERIFY_FAILED"):
            api.ask("GET", "/images")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", ApiError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", NotAnImageService),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", NotAnImageService),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", Interrupted),
        (b"SSH-2.0-OpenSSH\r\n", Interrupted),
        (b"", Interrupted),
    ],
)
def test_whatever_is_not_as_usual_is_an_error_of_the_tree(answer: bytes, error: type[Exception]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with at(f"http://127.0.0.1:{listener.getsockname()[1]}") as api, pytest.raises(error):
            api.ask("GET", "/images")
        thread.join(10)
