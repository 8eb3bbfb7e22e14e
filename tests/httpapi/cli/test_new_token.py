"""A token of Keystone's that ends while a verb is at work."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from blockstore.clock import monotonic
from httpapi.cli.endpoint import Asked, find_access
from httpapi.cli.verb import Choices, _log_in_again
from httpapi.client.auth import TokenLogin
from tests.kit.played_keystone import PASSWORD, PlayedKeystone

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_an_old_token_is_replaced_and_one_that_was_refused_when_it_was_new_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith(("OS_", "DRYSTONE_"))]:
        monkeypatch.delenv(name)
    with PlayedKeystone() as played:
        address = {"url": "http://127.0.0.1:1", "region": "one", "interface": "public"}
        played.catalog = [{"type": "image", "endpoints": [address]}]
        named = {"AUTH_URL": played.url, "USERNAME": "ann", "PASSWORD": PASSWORD, "PROJECT_NAME": "lab"}
        for name, text in named.items():
            monkeypatch.setenv(f"OS_{name}", text)
        monkeypatch.setenv("HOME", str(tmp_path))
        access = find_access(Asked())
        choices = Choices(access, json=False, quiet=True, asked=Asked())
        assert asyncio.run(_log_in_again(choices, access)) is None
        assert len(played.logins) == 1
        assert isinstance(access.login, TokenLogin)
        old = replace(access, login=replace(access.login, since=monotonic() - 61))
        assert asyncio.run(_log_in_again(choices, old)) == replace(
            access, login=TokenLogin("DRYSTONE", "service-token-2")
        )
