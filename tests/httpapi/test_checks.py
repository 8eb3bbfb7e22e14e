"""What is told of settings beforehand: the same problems that a start is refused over, warnings, and a plan."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from blockstore.data_dir import DataDir
from blockstore.disk import Disk
from httpapi.bootstrap import identity_of
from httpapi.checks import Checked, check
from httpapi.setting_values import Listen
from httpapi.settings import Settings, SettingsRefused
from tests.kit.authority import Authority

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def good(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


def look(settings: Settings, **changes: object) -> Checked:
    return check(replace(settings, **changes), identity_of)  # type: ignore[arg-type]  # each test gives real settings


def problem(settings: Settings, **changes: object) -> str:
    [found] = look(settings, **changes).problems
    return found


def test_defaults_are_fine_and_nothing_is_made(good: Settings) -> None:
    checked = look(good)
    assert (checked.problems, checked.warnings) == ((), ())
    checked.refuse()
    assert checked.plan["listens on"] == "http://127.0.0.1:9292, from this machine only"
    assert checked.plan["identity"] == "identity none: admin/default"
    assert checked.plan["data"].startswith(f"{good.data} (")
    assert checked.plan["data"].endswith(" GiB free, will be made)")
    assert checked.plan["TLS"] == "off"
    assert not good.data.exists()


def test_a_data_directory_that_is_there_is_looked_at(good: Settings, tmp_path: Path) -> None:
    DataDir.open(good.data, Disk()).close()
    assert look(good).warnings == ()
    good.data.chmod(0o750)
    [warning] = look(good).warnings
    assert warning.endswith(f"is open to other users of this machine: chmod 700 {good.data}")
    (tmp_path / "file").write_text("")
    assert "is no directory: put this right, or choose another" in problem(good, data=tmp_path / "file" / "below")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "thing").write_text("")
    assert "is not empty and holds no Drystone data" in problem(good, data=tmp_path / "strange")


def test_where_conversions_are_made_is_told_and_must_be_writable(good: Settings, tmp_path: Path) -> None:
    assert look(good).plan["work"].startswith(f"{good.data / 'work'} (")
    elsewhere = tmp_path / "elsewhere" / "work"
    assert look(good, work_dir=elsewhere).plan["work"].startswith(f"{elsewhere} (")
    assert not elsewhere.parent.exists()
    (tmp_path / "file").write_text("")
    assert problem(good, work_dir=tmp_path / "file" / "below") == (
        f"{tmp_path / 'file'} is no directory: put this right, or choose another work_dir."
    )


@pytest.mark.parametrize("wanted", [{"import_convert": "raw"}, {"import_decompress": True}])
def test_imports_are_not_to_wait_for_a_program_that_is_missing(
    good: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, object]
) -> None:
    assert look(good, **wanted).problems == ()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "qemu-img is not installed" in problem(good, **wanted)
    # Whoever works on jobs elsewhere has it there.
    assert look(good, **wanted, jobs=0).problems == ()


def test_addresses_beyond_this_machine_need_an_identity_and_passwords_need_tls(good: Settings) -> None:
    assert "there is no identity" in problem(good, listen=Listen("0.0.0.0", 1))
    assert "needs identity_file" in problem(good, identity="basic")


def test_tls_wants_two_files_that_fit_and_are_valid(good: Settings, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, two = authority.sign(file="one"), authority.sign(file="two")
    assert problem(good, tls_key=one.key) == "tls_key is set and tls_certificate is not: TLS needs both, or neither."
    assert "tls_certificate is set" in problem(good, tls_certificate=one.certificate)
    assert "does not belong" in problem(good, tls_certificate=one.certificate, tls_key=two.key)
    assert "cannot be read" in problem(good, tls_certificate=one.certificate, tls_key=tmp_path / "none")
    old, soon = authority.sign(days=0, file="old"), authority.sign(days=5, file="soon")
    assert "has expired on" in problem(good, tls_certificate=old.certificate, tls_key=old.key)
    soon.key.chmod(0o644)
    checked = look(good, tls_certificate=soon.certificate, tls_key=soon.key)
    assert checked.problems == ()
    expires, readable = checked.warnings
    assert "renew it" in expires
    assert readable.endswith(f"chmod 600 {soon.key}")
    assert checked.plan["listens on"].startswith("https://")


def test_what_is_done_about_formats_is_told_and_a_setting_without_effect_is_warned_of(good: Settings) -> None:
    told = {look(good, formats=each).plan["formats"] for each in ("enforce", "warn", "off")}
    assert len(told) == 3
    [warning] = look(good, property_protection_rule_format="policies").warnings
    assert warning == "property_protection_rule_format does nothing: property_protection_file is not set."


def test_addresses_that_cannot_be_meant_are_warned_of(good: Settings, tmp_path: Path) -> None:
    pair = Authority(tmp_path).sign()
    pair.key.chmod(0o600)
    checked = look(
        good,
        tls_certificate=pair.certificate,
        tls_key=pair.key,
        public_url="http://images.example",
        trusted_proxies=(ipaddress.ip_network("0.0.0.0/0"),),
    )
    assert [each.partition(" ")[0] for each in checked.warnings] == ["public_url", "trusted_proxies"]


def test_a_start_is_refused_over_the_first_problem_and_says_that_there_are_more(good: Settings, tmp_path: Path) -> None:
    checked = look(good, listen=Listen("192.0.2.1", 1), tls_key=tmp_path / "key")
    with pytest.raises(SettingsRefused, match=r"no identity.*`drystone config check` names 2 problems"):
        checked.refuse()


def test_other_services_are_asked_where_keystone_knows_them_alone(good: Settings) -> None:
    assert "needs identity keystone" in problem(good, import_methods=frozenset({"glance-download"}))


def test_properties_that_no_image_could_get_are_a_problem_before_the_first_import(good: Settings) -> None:
    assert "os_glance" in problem(good, import_inject=("os_glance_x=1",))
    assert "visibility" in problem(good, import_inject=("visibility=public",))
    assert "import_inject" in problem(good, import_inject=("k" * 300 + "=1",))
