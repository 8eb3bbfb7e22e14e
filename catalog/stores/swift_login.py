"""How the store `swift` is let in: a token and the account's address, by TempAuth or Keystone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.stores.outgoing.configured import ConfiguredClient


class LoginRefused(Exception):
    """Whoever gives tokens gives none; the message says why, without secrets."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What lets in for a while: the account's address, without a slash at its end, and the token."""

    account: str
    token: str = field(repr=False)


class Login(Protocol):
    """Who gives tokens, and to whom."""

    async def enter(self, client: ConfiguredClient) -> Entry:
        """A new token. Raises LoginRefused, NoAnswer."""
        ...


@dataclass(frozen=True, slots=True)
class TempAuth:
    """Swift's own: `user` is `account:user`."""

    url: str
    user: str
    key: str = field(repr=False)

    async def enter(self, client: ConfiguredClient) -> Entry:
        """Ask with two headers, be answered with two."""
        reply = await client.ask("GET", self.url, {"X-Auth-User": self.user, "X-Auth-Key": self.key})
        token, account = reply.headers.get("X-Auth-Token"), reply.headers.get("X-Storage-Url")
        if reply.status not in {200, 204} or token is None or account is None:
            raise LoginRefused(_said(reply.status))
        return _entry(account, token)


@dataclass(frozen=True, slots=True)
class Keystone:
    """A user of a project, or an application credential; `identity` is what Keystone wants to see, with its secret.

    `url` ends with `/v3`. The account is the endpoint of type `object-store` in the catalog, of this interface and, if
    it is said, this region.
    """

    url: str
    identity: Mapping[str, Any] = field(repr=False)
    scope: Mapping[str, Any] | None = None
    interface: str = "public"
    region: str | None = None

    async def enter(self, client: ConfiguredClient) -> Entry:
        """Ask for a token, and look for the account in what comes with it."""
        auth: dict[str, Any] = {"identity": self.identity}
        if self.scope is not None:
            auth["scope"] = self.scope
        body = json.dumps({"auth": auth}).encode()
        reply = await client.ask("POST", f"{self.url}/auth/tokens", {"Content-Type": "application/json"}, body)
        token = reply.headers.get("X-Subject-Token")
        if reply.status != 201 or token is None:
            raise LoginRefused(_said(reply.status))
        return _entry(self._account(reply.body), token)

    def _account(self, document: bytes) -> str:
        try:
            catalog = json.loads(document)["token"]["catalog"]
            for service in catalog:
                if service["type"] != "object-store":
                    continue
                for endpoint in service["endpoints"]:
                    if endpoint["interface"] == self.interface and self.region in {None, endpoint["region_id"]}:
                        return str(endpoint["url"])
        except (ValueError, LookupError, TypeError):
            raise LoginRefused("Keystone's answer has no catalog in it that can be read") from None
        where = f" in region {self.region}" if self.region else ""
        raise LoginRefused(
            f"Keystone's catalog has no {self.interface} endpoint of type object-store{where}: correct `region`, "
            "`interface` or the catalog"
        )


def by_password(user: str, domain: str, password: str) -> Mapping[str, Any]:
    """What Keystone wants to see of a user."""
    named = {"name": user, "domain": {"name": domain}, "password": password}
    return {"methods": ["password"], "password": {"user": named}}


def by_credential(id_: str, secret: str) -> Mapping[str, Any]:
    """What Keystone wants to see of an application credential, which belongs to a project by itself."""
    return {"methods": ["application_credential"], "application_credential": {"id": id_, "secret": secret}}


def of_project(name: str, domain: str) -> Mapping[str, Any]:
    """The project in which a user asks."""
    return {"project": {"name": name, "domain": {"name": domain}}}


def _entry(account: str, token: str) -> Entry:
    if urlsplit(account).scheme not in {"http", "https"} or not account.isascii():
        raise LoginRefused("the account's address is none of http or https")
    return Entry(account.rstrip("/"), token)


def _said(status: int) -> str:
    if status in {401, 403}:
        return "its credentials are refused"
    return f"whoever gives tokens answers {status}: is `auth_url` right, and `auth_version`?"
