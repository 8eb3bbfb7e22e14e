"""Logging in at Keystone: what is sent, which address is taken, and what is said when it cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from httpapi.client.auth import TokenLogin
from httpapi.client.auth_keystone import Cloud, log_in
from httpapi.client.errors import AccessRefused, ClientError, InsecureEndpoint
from tests.kit.authority import Authority
from tests.kit.played_keystone import PASSWORD, PlayedKeystone, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def endpoint(url: str, region: str = "one", interface: str = "public") -> dict[str, str]:
    return {"url": url, "region_id": region, "region": region, "interface": interface}


@pytest.fixture
def played() -> Iterator[PlayedKeystone]:
    with PlayedKeystone() as keystone:
        inside = endpoint("http://inside", interface="internal")
        keystone.catalog = [
            {"type": "identity", "endpoints": [endpoint("http://keys")]},
            {"type": "image", "endpoints": [inside, endpoint("http://one"), endpoint("http://two", "two")]},
        ]
        yield keystone


def cloud(url: str, auth_type: str = "password", **words: str) -> Cloud:
    usual = {"auth_url": url, "username": "ann", "password": PASSWORD, "project_name": "lab"}
    return Cloud(usual | words, auth_type, "the cloud 'c'")


def test_a_password_becomes_a_token_and_the_catalogs_address(played: PlayedKeystone) -> None:
    access = log_in(cloud(played.url))
    assert isinstance(access.login, TokenLogin)
    assert access.login.headers("other") == {"X-Auth-Token": "service-token-1"}
    assert (access.endpoint, access.project, access.login.user) == ("http://one", "service", "DRYSTONE")
    assert "service-token" not in repr(access)
    default = {"id": "default"}
    assert played.logins == [
        {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": "ann", "domain": default, "password": PASSWORD}},
            },
            "scope": {"project": {"name": "lab", "domain": default}},
        }
    ]


def test_ids_domains_tokens_and_application_credentials_are_sent_as_keystone_wants_them(
    played: PlayedKeystone,
) -> None:
    log_in(cloud(played.url, user_id="u", project_id="p"))
    log_in(cloud(played.url, user_domain_name="D", project_domain_id="e"))
    log_in(cloud(played.url, "v3token", token=PASSWORD))
    credential: dict[str, Any] = {"application_credential_id": "i", "application_credential_secret": PASSWORD}
    log_in(cloud(played.url, "v3applicationcredential", **credential))
    first, second, third, fourth = played.logins
    assert first["identity"]["password"]["user"] == {"id": "u", "password": PASSWORD}
    assert first["scope"] == {"project": {"id": "p"}}
    assert second["identity"]["password"]["user"]["domain"] == {"name": "D"}
    assert second["scope"]["project"]["domain"] == {"id": "e"}
    assert third["identity"] == {"methods": ["token"], "token": {"id": PASSWORD}}
    methods = {"methods": ["application_credential"], "application_credential": {"secret": PASSWORD, "id": "i"}}
    assert fourth == {"identity": methods}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"region": "two"}, "http://two"),
        ({"interface": "internal"}, "http://inside"),
        ({"interface": "internalURL"}, "http://inside"),
        ({"endpoint": "https://named/v2", "region": "nowhere"}, "https://named/v2"),
    ],
)
def test_region_interface_and_an_address_of_ones_own_choose(
    played: PlayedKeystone, more: dict[str, str], expected: str
) -> None:
    words = cloud(played.url).words
    assert log_in(Cloud(words, "password", "c", **more)).endpoint == expected  # type: ignore[arg-type]  # texts


def said(chosen: Cloud) -> str:
    with pytest.raises(AccessRefused) as refused:
        log_in(chosen)
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


def test_what_is_missing_or_refused_is_said_without_a_secret(played: PlayedKeystone) -> None:
    def without(word: str) -> Cloud:
        words = cloud(played.url).words
        return Cloud({name: text for name, text in words.items() if name != word}, "password", "the cloud 'c'")

    for word in ("auth_url", "username", "password"):
        assert f"lacks {word}" in said(without(word))
    assert "names no project" in said(without("project_name"))
    assert "refuses the login of the cloud 'c'" in said(cloud(played.url, password="wrong"))
    assert "in the region 'three'" in said(Cloud(cloud(played.url).words, "password", "c", region="three"))
    played.catalog = []
    assert "no public address of an image service in any region" in said(cloud(played.url))
    played.stop()
    assert "cannot be asked for a token" in said(cloud(played.url))
    played.start()


def test_what_is_no_keystone_is_told_so(played: PlayedKeystone) -> None:
    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/")

    async def nonsense(_: web.Request) -> web.Response:
        return web.Response(status=201, text="[" * 100_000, headers={"X-Subject-Token": "t"})

    async def failing(_: web.Request) -> web.Response:
        return refusal(500)

    for fail in (elsewhere, nonsense, failing):
        played.fail = fail
        assert "not as a Keystone" in said(cloud(played.url))


@pytest.mark.parametrize(
    "url", ["http://ann:hidden@127.0.0.1:1/v3", "http://ann:hidden@keys.example.org/v3", "https://127.0.0.1:1/k\u00e9y"]
)
def test_an_address_that_cannot_be_asked_is_a_sentence_without_a_password(url: str) -> None:
    with pytest.raises(ClientError) as refused:
        log_in(cloud(url))
    assert "hidden" not in str(refused.value)


def test_an_address_in_brackets_needs_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def connect(address: object, *_: object, **__: object) -> None:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", connect)
    for url in ("http://[::1]/v3", "https://[2001:db8::443]/v3"):
        said(cloud(url))
    assert asked == [("::1", 80), ("2001:db8::443", 443)]


@pytest.mark.parametrize("endpoints", [5, "one", {"url": 1}, [{"interface": "public", "region": ["a"], "url": 5}]])
def test_a_catalog_that_is_none_has_no_address(played: PlayedKeystone, endpoints: object) -> None:
    played.catalog = [{"type": "image", "endpoints": endpoints}]
    assert "has no public address" in said(Cloud(cloud(played.url).words, "password", "c", region="a"))


def test_no_secret_goes_over_a_network_in_the_clear_or_to_whom_nobody_trusts(tmp_path: Path) -> None:
    with pytest.raises(InsecureEndpoint):
        log_in(cloud("http://keys.example.org/v3"))
    authority = Authority(tmp_path)
    with PlayedKeystone(tls=authority.sign().context()) as played:
        assert "cannot be asked" in said(cloud(played.url))
        assert not played.logins
        words = cloud(played.url).words
        assert log_in(Cloud(words, "password", "c", endpoint="https://h", cacert=authority.path)).endpoint
