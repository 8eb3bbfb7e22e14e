"""What other tests rely on of the real Keystone that the kit starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.kit.real_keystone import Keystone

pytestmark = pytest.mark.clients


def told(keystone: Keystone, token: str) -> object:
    """Roles and project that Keystone tells the service user of a token; None for one that it refuses."""
    service = keystone.token(keystone.service)
    reply = keystone.call("GET", "/auth/tokens?nocatalog", token=service, X_Subject_Token=token)
    if reply.status != 200:
        return None
    return sorted(role["name"] for role in reply.json["token"]["roles"]), reply.json["token"]["project"]["name"]


def test_users_have_their_roles_and_those_below(keystone: Keystone) -> None:
    for role, expected in (
        ("admin", ["admin", "manager", "member", "reader"]),
        ("member", ["member", "reader"]),
        ("reader", ["reader"]),
    ):
        login = keystone.login(f"kit-{role}", "kit-lab", role)
        assert told(keystone, keystone.token(login)) == (expected, "kit-lab")


def test_a_revoked_token_is_refused_and_a_catalog_names_the_image_service_once(keystone: Keystone) -> None:
    token = keystone.token(keystone.login("kit-member", "kit-lab", "member"))
    keystone.revoke(token)
    assert told(keystone, token) is None
    keystone.endpoint("http://127.0.0.1:1/v2")
    keystone.endpoint("http://127.0.0.1:2/v2")
    catalog = keystone.call("GET", "/auth/catalog").json["catalog"]
    (image,) = [service for service in catalog if service["type"] == "image"]
    assert {endpoint["url"] for endpoint in image["endpoints"]} == {"http://127.0.0.1:2/v2"}
    keystone.kill()
    keystone.start()
    assert told(keystone, keystone.token(keystone.admin)) is not None
