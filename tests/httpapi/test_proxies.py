"""Whom a request comes from, and what links lead to, with and without proxies that are believed."""

from __future__ import annotations

import ipaddress
import json
import logging
from typing import TYPE_CHECKING

import pytest

from httpapi.proxies import WayIn
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.usecases.services import Services

HERE = ipaddress.ip_network("127.0.0.1/32")
INNER = ipaddress.ip_network("10.0.0.0/8")
INNER6 = ipaddress.ip_network("fd00::/8")


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "drystone.access"):
        yield


def client_seen(server: RunningServer, caplog: pytest.LogCaptureFixture, *forwarded: str) -> str:
    """The client's address in the line of one request that brought these X-Forwarded-For lines."""
    caplog.clear()
    lines = "".join(f"X-Forwarded-For: {each}\r\n" for each in forwarded)
    server.exchange(f"GET /healthcheck HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
    while not (found := [each for each in caplog.records if each.name == "drystone.access"]):
        pass
    return str(found[0].__dict__["access"]["client"])


def link(server: RunningServer, **headers: str) -> str:
    """Where the version list leads."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return str(server.call("GET", "/versions", headers=told).json["versions"][0]["links"][0]["href"])


def test_nobody_is_believed_unless_trusted(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    with RunningServer(services, way_in=WayIn(trusted=(INNER,))) as server:
        assert client_seen(server, caplog, "203.0.113.7") == "127.0.0.1"
        own = f"http://127.0.0.1:{server.port}/v2/"
        assert link(server, X_Forwarded_Proto="https", X_Forwarded_Host="images.example.org") == own


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ((), "127.0.0.1"),
        (("203.0.113.7",), "203.0.113.7"),
        (("198.51.100.1, 203.0.113.7",), "203.0.113.7"),
        (("198.51.100.1", "203.0.113.7, 10.1.1.1"), "203.0.113.7"),
        (("10.2.2.2, 10.1.1.1",), "10.2.2.2"),
        (("203.0.113.7, unknown, 10.1.1.1",), "10.1.1.1"),
        (("203.0.113.7:4711",), "203.0.113.7"),
        (("[2001:db8::1]:4711, fd00::5",), "2001:db8::1"),
        (("::ffff:203.0.113.7",), "203.0.113.7"),
        (("198.51.100.1," * 100 + "203.0.113.7",), "203.0.113.7"),
        (("nonsense",), "127.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy_of_ours(
    services: Services, caplog: pytest.LogCaptureFixture, forwarded: tuple[str, ...], client: str
) -> None:
    with RunningServer(services, way_in=WayIn(trusted=(HERE, INNER, INNER6))) as server:
        assert client_seen(server, caplog, *forwarded) == client


def test_a_trusted_proxy_says_how_it_was_called_and_only_what_can_be_is_believed(services: Services) -> None:
    with RunningServer(services, way_in=WayIn(trusted=(HERE,))) as server:
        host = f"127.0.0.1:{server.port}"
        assert link(server, X_Forwarded_Proto="https", X_Forwarded_Host="images.example.org") == (
            "https://images.example.org/v2/"
        )
        assert link(server, X_Forwarded_Proto="http, HTTPS") == f"https://{host}/v2/"
        assert link(server, X_Forwarded_Host="evil.example, [2001:db8::1]:8443") == "http://[2001:db8::1]:8443/v2/"
        for nonsense in ("a b", "a/b", "a@b", 'a"b', "a:123456", ""):
            assert link(server, X_Forwarded_Host=nonsense, X_Forwarded_Proto="gopher") == f"http://{host}/v2/"


def test_the_public_address_stands_in_every_absolute_link_with_its_path(services: Services) -> None:
    with RunningServer(services, way_in=WayIn("https://example.org/images", (HERE,))) as server:
        assert link(server, X_Forwarded_Host="other.example") == "https://example.org/images/v2/"
        made = server.call("POST", "/v2/images", json_body={"disk_format": "raw", "container_format": "bare"})
        assert made.headers["Location"] == f"https://example.org/images/v2/images/{made.json['id']}"
        # Links in documents are paths below the endpoint, as clients of this API expect: no prefix.
        assert made.json["self"] == f"/v2/images/{made.json['id']}"
        assert json.dumps(server.call("GET", "/v2/images").json).count("example.org") == 0
