"""Logging in at OpenStack's Keystone: a password, a token or an application credential becomes a token and an address.

`words` are what openstacksdk calls the parts of a login, in clouds.yaml's `auth` and, with OS_ before them, in
variables. Only what Python brings along is loaded: a verb logs in before it knows what else it needs.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from httpapi.client.auth import Access, TokenLogin, check_endpoint, trust_of
from httpapi.client.errors import AccessRefused, InsecureEndpoint
from httpapi.wire.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

AUTH_TYPES: Final = frozenset({"password", "v3password", "token", "v3token", "v3applicationcredential"})
WORDS: Final = (
    "auth_url", "username", "user_id", "password", "user_domain_name", "user_domain_id", "project_name", "project_id",
    "project_domain_name", "project_domain_id", "default_domain", "token", "application_credential_id",
    "application_credential_name", "application_credential_secret",
)  # fmt: skip
_SECONDS: Final = 30.0
_LARGEST: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where Keystone is, and what else is said of the cloud; `source` for people.

    `endpoint` goes before the catalog's address of the image service; `region` and `interface` choose among those.
    """

    words: Mapping[str, str] = field(repr=False)
    auth_type: str
    source: str
    endpoint: str | None = None
    region: str | None = None
    interface: str | None = None
    cacert: Path | None = None
    insecure: bool = False


def log_in(cloud: Cloud) -> Access:
    """The access that this login gives. Raises AccessRefused, with a sentence that holds no secret."""
    body = {"auth": _request(cloud)}
    status, headers, document = _ask(cloud, json.dumps(body).encode())
    text = headers.get("X-Subject-Token")
    token = document.get("token") if isinstance(document, dict) else None
    if status == 401:
        raise AccessRefused(f"Keystone refuses the login of {cloud.source}: user, password or project is wrong")
    if status != 201 or not text or not text.isascii() or not text.isprintable() or not isinstance(token, dict):
        raise AccessRefused(
            f"{_place(cloud)}, of {cloud.source}, answers {status}, and not as a Keystone: check auth_url"
        )
    project, user = _part(token, "project", "id"), _part(token, "user", "name")
    endpoint = cloud.endpoint or _endpoint(cloud, token)
    check_endpoint(endpoint)
    return Access(
        endpoint,
        f"{cloud.source}, by Keystone",
        TokenLogin(user or "a user of Keystone", text),
        project,
        cloud.cacert,
        cloud.insecure,
    )


def _request(cloud: Cloud) -> dict[str, object]:
    words = cloud.words
    if cloud.auth_type == "v3applicationcredential":
        return {"identity": _by_credential(cloud)}
    if cloud.auth_type.endswith("token"):
        identity: dict[str, object] = {"methods": ["token"], "token": {"id": _needed(cloud, "token")}}
    else:
        user = _user(cloud) | {"password": _needed(cloud, "password")}
        identity = {"methods": ["password"], "password": {"user": user}}
    project = words.get("project_id") or words.get("project_name")
    if project is None:
        raise AccessRefused(f"{cloud.source} names no project, and images belong to projects: add project_name")
    named = {"id": project} if "project_id" in words else {"name": project, "domain": _domain(words, "project")}
    return {"identity": identity, "scope": {"project": named}}


def _by_credential(cloud: Cloud) -> dict[str, object]:
    words = cloud.words
    named: dict[str, object] = {"secret": _needed(cloud, "application_credential_secret")}
    if "application_credential_id" in words:
        named["id"] = words["application_credential_id"]
    else:
        named |= {"name": _needed(cloud, "application_credential_name"), "user": _user(cloud)}
    return {"methods": ["application_credential"], "application_credential": named}


def _user(cloud: Cloud) -> dict[str, object]:
    words = cloud.words
    if "user_id" in words:
        return {"id": words["user_id"]}
    return {"name": _needed(cloud, "username"), "domain": _domain(words, "user")}


def _domain(words: Mapping[str, str], whose: str) -> dict[str, str]:
    if f"{whose}_domain_name" in words:
        return {"name": words[f"{whose}_domain_name"]}
    return {"id": words.get(f"{whose}_domain_id") or words.get("default_domain") or "default"}


def _needed(cloud: Cloud, word: str) -> str:
    if word not in cloud.words:
        raise AccessRefused(f"{cloud.source} has auth type {cloud.auth_type} and lacks {word}")
    return cloud.words[word]


def _place(cloud: Cloud) -> str:
    url = _needed(cloud, "auth_url").rstrip("/")
    if "@" in url:
        # It would be sent nowhere, and shown wherever the address is.
        raise AccessRefused(f"the auth_url of {cloud.source} holds a login: move it to username and password")
    return url if url.endswith("/v3") else f"{url}/v3"


def _ask(cloud: Cloud, body: bytes) -> tuple[int, http.client.HTTPMessage, object]:
    url = _place(cloud)
    check_endpoint(url)
    parts = urlsplit(url)
    assert parts.hostname is not None
    if parts.scheme == "http" and not is_loopback(parts.hostname) and not cloud.insecure:
        raise InsecureEndpoint(url)
    # Without a port http.client would take the end of an IPv6 address for one.
    connection = (
        http.client.HTTPSConnection(parts.hostname, parts.port or 443, timeout=_SECONDS, context=trust_of(cloud.cacert))
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=_SECONDS)
    )
    try:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("POST", f"{parts.path}/auth/tokens", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, _json_of(answer.read(_LARGEST))
    except (OSError, http.client.HTTPException, UnicodeError) as failure:
        reason = str(failure) or type(failure).__name__
        raise AccessRefused(f"{url}, of {cloud.source}, cannot be asked for a token ({reason})") from failure
    finally:
        connection.close()


def _json_of(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _endpoint(cloud: Cloud, token: Mapping[str, object]) -> str:
    """The image service's address in the catalog."""
    services = token.get("catalog")
    listed = [each for each in services if isinstance(each, dict)] if isinstance(services, list) else []
    of_image = [each.get("endpoints") for each in listed if each.get("type") == "image"]
    endpoints = [end for ends in of_image if isinstance(ends, list) for end in ends]
    interface = (cloud.interface or "public").removesuffix("URL")
    fitting = [
        url
        for end in endpoints
        if isinstance(end, dict) and end.get("interface") == interface
        if cloud.region is None or cloud.region in [end.get("region_id"), end.get("region")]
        if isinstance(url := end.get("url"), str)
    ]
    if not fitting:
        where = f"the region {cloud.region!r}" if cloud.region else "any region"
        raise AccessRefused(
            f"the catalog of {cloud.source} has no {interface} address of an image service in {where}: "
            "name it as image_endpoint_override or OS_IMAGE_ENDPOINT_OVERRIDE"
        )
    return fitting[0]


def _part(token: Mapping[str, object], name: str, key: str) -> str | None:
    found = token.get(name)
    text = found.get(key) if isinstance(found, dict) else None
    return text if isinstance(text, str) and text.isprintable() else None
