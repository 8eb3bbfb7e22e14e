"""Identity keystone from settings: what is refused before anything is asked, and that no secret is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from httpapi.bootstrap import identity_of
from httpapi.checks import check
from httpapi.cli.root import cli
from httpapi.identity.keystone import KeystoneIdentity
from httpapi.settings import SettingsRefused, load
from httpapi.workers.shares import from_document, to_document
from tests.kit.authority import Authority
from tests.kit.played_keystone import PASSWORD, PlayedKeystone

if TYPE_CHECKING:
    from pathlib import Path

    from httpapi.settings import Settings

URL = "https://keys.example.org:5000/v3"


def settings_of(**given: str) -> Settings:
    named = {f"DRYSTONE_KEYSTONE_{name.upper()}": value for name, value in given.items()}
    return load(environment={"DRYSTONE_IDENTITY": "keystone", **named})


def refusal(**given: str) -> str:
    with pytest.raises(SettingsRefused) as refused:
        identity_of(settings_of(**given))
    return str(refused.value)


def test_an_address_and_a_password_make_an_identity() -> None:
    identity = identity_of(settings_of(auth_url=URL, password="p"))
    assert isinstance(identity, KeystoneIdentity)
    assert identity.describe == f"identity keystone: {URL}"
    assert identity.takes_passwords
    shorter = identity_of(settings_of(auth_url="https://example.org/identity/", password="p"))
    assert shorter.describe == "identity keystone: https://example.org/identity/v3"


def test_what_is_missing_or_wrong_is_said(tmp_path: Path) -> None:
    file = tmp_path / "password"
    assert "needs keystone_auth_url" in refusal(password="p")
    assert "needs the password of the user 'drystone'" in refusal(auth_url=URL)
    assert "cannot be read" in refusal(auth_url=URL, password_file=str(file))
    file.write_bytes(b"\n")
    assert "is empty" in refusal(auth_url=URL, password_file=str(file))
    file.write_bytes(b"\xff")
    assert "is not UTF-8" in refusal(auth_url=URL, password_file=str(file))
    file.write_text("p\n")
    assert "are both set" in refusal(auth_url=URL, password_file=str(file), password="p")
    assert "names no role" in refusal(auth_url=URL, password="p", service_roles=",")
    assert "cannot be read" in refusal(auth_url=URL, password="p", ca_file=str(tmp_path / "none.pem"))
    assert "no certificates" in refusal(auth_url=URL, password="p", ca_file=str(file))
    identity_of(settings_of(auth_url=URL, password_file=str(file), ca_file=str(Authority(tmp_path).path)))


def test_no_password_goes_over_a_network_in_the_clear_unless_that_is_said() -> None:
    assert "in the clear" in refusal(auth_url="http://keys.example.org/v3", password="p")
    identity_of(settings_of(auth_url="http://keys.example.org/v3", password="p", insecure="yes"))
    identity_of(settings_of(auth_url="http://127.0.0.1:5000/v3", password="p"))


def test_warnings_name_a_password_file_that_others_can_read_and_a_long_memory(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("p")
    file.chmod(0o644)
    settings = settings_of(auth_url=URL, password_file=str(file), cache_time="1d")
    warnings = " ".join(check(settings, identity_of).warnings)
    assert "keystone_password_file" in warnings
    assert "keystone_cache_time 86400 s" in warnings


def test_a_password_file_that_cannot_even_be_looked_at_is_a_sentence() -> None:
    found = check(settings_of(auth_url=URL, password_file="x" * 300), identity_of)
    assert "keystone_password_file" in found.problems[0]


def test_workers_are_told_the_password_and_nobody_else(tmp_path: Path) -> None:
    settings = settings_of(auth_url=URL, password=" blank ")
    told = from_document(json.loads(json.dumps(to_document(settings))))
    assert told == settings
    assert told.keystone_password is not None
    assert told.keystone_password.revealed == " blank "
    assert " blank " not in repr(settings)
    environment = {
        "DRYSTONE_IDENTITY": "keystone",
        "DRYSTONE_KEYSTONE_AUTH_URL": URL,
        "DRYSTONE_KEYSTONE_PASSWORD": "unlikely",
        "DRYSTONE_DATA": str(tmp_path / "data"),
    }
    for words in (["config", "check"], ["config", "check", "--json"]):
        run = CliRunner().invoke(cli, words, env=environment)
        assert run.exit_code == 0, run.output
        assert "unlikely" not in run.output
        assert "set, and not shown" in run.output
    wrong = CliRunner().invoke(cli, ["config", "check"], env=environment | {"DRYSTONE_KEYSTONE_PASSWORD": ""})
    assert wrong.exit_code == 1


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"DRYSTONE_IDENTITY": "keystone", "DRYSTONE_DATA": str(tmp_path / "data")}


def reached(environment: dict[str, str], played: PlayedKeystone, password: str) -> tuple[int, Any]:
    told = {"DRYSTONE_KEYSTONE_AUTH_URL": played.url, "DRYSTONE_KEYSTONE_PASSWORD": password}
    run = CliRunner().invoke(cli, ["config", "check", "--reach", "--json"], env=environment | told)
    return run.exit_code, json.loads(run.output)["problems"]


def test_config_check_tries_the_login_when_asked_to(environment: dict[str, str]) -> None:
    with PlayedKeystone() as played:
        assert reached(environment, played, PASSWORD) == (0, [])
        code, [problem] = reached(environment, played, "wrong")
        assert code == 1
        assert problem.startswith("Keystone refuses the user 'drystone' of the domain 'Default'")
        played.stop()
        code, [problem] = reached(environment, played, PASSWORD)
        assert code == 1
        assert "cannot be asked" in problem
        played.start()
    run = CliRunner().invoke(cli, ["config", "check", "--reach"], env={"DRYSTONE_DATA": environment["DRYSTONE_DATA"]})
    assert run.exit_code == 0
