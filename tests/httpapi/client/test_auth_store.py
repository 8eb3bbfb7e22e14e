"""The file of stored logins: whose it is, what it gives, and that it stays closed."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from httpapi.client.auth import Access, Login
from httpapi.client.auth_store import drop_logins, keep_login, read_logins
from httpapi.client.errors import AccessRefused

if TYPE_CHECKING:
    from pathlib import Path

ALICE = Access("https://a.example/v2/", "", Login("alice", 'p"\\ \n\x01ü'), "lab", insecure=True)
BOB = Access("http://b.example:9292", "", Login("bob", "secret"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "below" / "drystone" / "credentials.toml"


def test_logins_come_back_by_their_address_and_the_last_one_is_current(path: Path) -> None:
    assert read_logins(path).current is None
    keep_login(path, ALICE)
    keep_login(path, BOB)
    stored = read_logins(path)
    assert stored.current == "http://b.example:9292"
    found = stored.of("HTTPS://A.example:443")
    assert found is not None
    assert (found.login, found.project, found.insecure) == (ALICE.login, "lab", True)
    assert stored.of("http://a.example") is None
    assert stored.of("https://a.example/other") is None


def test_file_and_directory_are_their_owners_alone(path: Path) -> None:
    keep_login(path, ALICE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_can_read_is_refused_with_the_command_that_closes_it(path: Path) -> None:
    keep_login(path, ALICE)
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(AccessRefused, match=f"chmod 600 {path}"):
            read_logins(path)


@pytest.mark.parametrize("text", ["logins = [", "logins = 3", "current = 3", "[logins]\na = 3", "[logins.a]\nuser = 3"])
def test_a_broken_file_is_refused_and_logout_removes_it(path: Path, text: str) -> None:
    keep_login(path, ALICE)
    path.write_text(text)
    with pytest.raises(AccessRefused, match="`drystone logout --all` removes it"):
        read_logins(path)
    assert drop_logins(path, None) == [str(path)]
    assert not path.exists()


def test_logins_are_forgotten_one_by_one_or_all(path: Path) -> None:
    assert drop_logins(path, None) == []
    keep_login(path, ALICE)
    keep_login(path, BOB)
    assert drop_logins(path, "http://c.example") == []
    assert drop_logins(path, "http://b.example:9292/v2") == ["http://b.example:9292"]
    assert read_logins(path).current is None
    assert "secret" not in path.read_text()
    assert drop_logins(path, None) == ["https://a.example"]
