"""Settings: four sources, their order, and sentences for what cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from httpapi.setting_readers import READERS
from httpapi.setting_values import Listen, duration
from httpapi.settings import SETTING_NAMES, Settings, SettingsRefused, load


def refusal(**sources: object) -> str:
    with pytest.raises(SettingsRefused) as caught:
        load(**{"environment": {}, **sources})  # type: ignore[arg-type]  # each test gives its own sources
    return str(caught.value)


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "drystone.toml"
    path.write_text(text)
    return path


def test_without_any_source_the_defaults_hold() -> None:
    assert load(environment={}) == Settings()
    assert Settings().listen == Listen("127.0.0.1", 9292)


def test_every_setting_has_a_reader_and_no_reader_is_left_over() -> None:
    assert set(READERS) == set(SETTING_NAMES)


def test_flags_go_before_the_environment_and_it_before_the_file(tmp_path: Path) -> None:
    file = config(tmp_path, 'data = "/from/file"\nlisten = "127.0.0.1:1"\nlog_level = "error"\nblock_size = "128KiB"\n')
    settings = load(
        config=file,
        flags={"listen": "127.0.0.1:3", "data": None},
        environment={"DRYSTONE_LISTEN": "127.0.0.1:2", "DRYSTONE_LOG_LEVEL": "DEBUG", "PATH": "/bin"},
    )
    assert settings.listen.port == 3
    assert settings.log_level == "debug"
    assert settings.data == Path("/from/file")
    assert settings.block_size == 131072


def test_the_environment_can_name_the_file_and_holds_the_clients_variables_too(tmp_path: Path) -> None:
    file = config(tmp_path, "shutdown_grace = 1\n")
    variables = {"DRYSTONE_CONFIG": str(file), "DRYSTONE_ENDPOINT": "http://h", "DRYSTONE_PROJECT": "p"}
    variables |= {"DRYSTONE_USER": "u", "DRYSTONE_PASSWORD": "w", "DRYSTONE_CACERT": "/c"}
    assert load(environment=variables).shutdown_grace == 1.0


def test_an_unknown_key_is_refused_with_the_one_it_looks_like(tmp_path: Path) -> None:
    assert "did you mean block_size?" in refusal(config=config(tmp_path, "blocksize = 65536\n"))
    assert "DRYSTONE_LISTN in the environment is no setting: did you mean DRYSTONE_LISTEN?" in refusal(
        environment={"DRYSTONE_LISTN": "x"}
    )
    assert "README" in refusal(config=config(tmp_path, "quux = 1\n"))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("block_size", "65537"),
        ("block_size", "2KiB"),
        ("block_size", "8MiB"),
        ("block_size", "64 parsecs"),
        ("slab_budget", "1MiB"),
        ("image_size_cap", "0"),
        ("generation_seconds", "-1"),
        ("generation_seconds", "nan"),
        ("body_timeout", "soon"),
        ("listen", "9292"),
        ("listen", "127.0.0.1:"),
        ("listen", "127.0.0.1:99999"),
        ("listen", "127.0.0.1:²"),
        ("listen", "::1:9292"),
        ("listen", ":9292"),
        ("identity", "ldap"),
        ("keystone_auth_url", "keys.example.org"),
        ("keystone_password", ""),
        ("log_level", "loud"),
        ("data", " "),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(key: str, text: str) -> None:
    assert refusal(environment={f"DRYSTONE_{key.upper()}": text}).startswith(f"{key} in DRYSTONE_{key.upper()}: ")


def test_sizes_are_numbers_or_have_units(tmp_path: Path) -> None:
    file = config(tmp_path, 'block_size = 4096\nslab_budget = "96 MiB"\nimage_size_cap = "2tib"\nbody_timeout = 0.5\n')
    settings = load(config=file, environment={})
    assert (settings.block_size, settings.slab_budget) == (4096, 96 << 20)
    assert settings.image_size_cap == 2 << 40
    assert settings.body_timeout == 0.5


def test_an_address_may_be_ipv6_and_is_shown_as_it_was_given() -> None:
    listen = load(environment={"DRYSTONE_LISTEN": "[::1]:0"}).listen
    assert listen == Listen("::1", 0)
    assert str(listen) == "[::1]:0"


def test_roles_are_a_list_or_a_text(tmp_path: Path) -> None:
    assert load(environment={"DRYSTONE_IDENTITY_ROLES": "Member, reader"}).identity_roles == {"member", "reader"}
    assert load(config=config(tmp_path, 'identity_roles = ["reader"]\n'), environment={}).identity_roles == {"reader"}
    assert "identity_roles" in refusal(config=config(tmp_path, "identity_roles = 5\n"))


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(config=tmp_path / "none.toml")
    assert "is not TOML" in refusal(config=config(tmp_path, "data = \n"))


def test_counts_switches_addresses_and_networks_are_read_from_text_and_from_toml(tmp_path: Path) -> None:
    text = (
        'workers = 3\ninsecure = true\npublic_url = "https://example.org/images/"\ntrusted_proxies = ["10.0.0.0/8"]\n'
    )
    variables = {
        "DRYSTONE_WORKERS": "3",
        "DRYSTONE_INSECURE": "yes",
        "DRYSTONE_PUBLIC_URL": "https://example.org/images",
        "DRYSTONE_TRUSTED_PROXIES": "10.0.0.0/8",
    }
    assert load(config=config(tmp_path, text), environment={}) == load(environment=variables)
    assert load(environment=variables).public_url == "https://example.org/images"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("workers", "0"),
        ("workers", "many"),
        ("insecure", "perhaps"),
        ("public_url", "example.org"),
        ("public_url", "https://me:secret@example.org"),
        ("public_url", "https://example.org/?a=b"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("trusted_proxies", "proxy.example.org"),
        ("outgoing_schemes", "https,file"),
        ("outgoing_ports", "80,many"),
        ("outgoing_ports", "0"),
        ("outgoing_hosts", "https://mirror.example.org"),
        ("outgoing_hosts", "mirror.example.org:8080"),
        ("outgoing_networks", "mirror.example.org"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(key: str, value: str) -> None:
    assert refusal(environment={f"DRYSTONE_{key.upper()}": value}).startswith(f"{key} in DRYSTONE_{key.upper()}: ")


def test_whom_the_service_asks_is_read_from_text_and_from_toml(tmp_path: Path) -> None:
    text = (
        "[outgoing]\nports = [80, 8080]\nschemes = ['https']\nhosts = ['.Lab.example', 'FE80::01']\n"
        "networks = ['10.0.0.0/8']\ntimeout = '2m'\n"
    )
    variables = {
        "DRYSTONE_OUTGOING_PORTS": "8080, 80",
        "DRYSTONE_OUTGOING_SCHEMES": "HTTPS",
        "DRYSTONE_OUTGOING_HOSTS": "fe80::1,.lab.example",
        "DRYSTONE_OUTGOING_NETWORKS": "10.0.0.0/8",
        "DRYSTONE_OUTGOING_TIMEOUT": "120",
    }
    loaded = load(config=config(tmp_path, text), environment={})
    assert loaded == load(environment=variables)
    assert loaded.outgoing_hosts == (".lab.example", "fe80::1")


def test_what_begins_with_a_tables_name_may_stand_below_it(tmp_path: Path) -> None:
    assert load(config=config(tmp_path, '[gc]\nevery = "7d"\n'), environment={}).gc_every == 7 * 86400
    assert load(config=config(tmp_path, "gc_every = 0\n"), environment={}).gc_every == 0
    assert load(environment={"DRYSTONE_GC_EVERY": "90m"}).gc_every == 5400
    said = refusal(config=config(tmp_path, "[gc]\nevry = 1\n"))
    assert "gc.evry" in said
    assert "did you mean gc_every?" in said
    assert "data.dir" in refusal(config=config(tmp_path, '[data]\ndir = "x"\n'))
    assert load(config=config(tmp_path, '[gc]\nkeep_deleted = "7d"\n'), environment={}).gc_keep_deleted == 7 * 86400
    assert load(config=config(tmp_path, "gc_keep_deleted = 0\n"), environment={}).gc_keep_deleted == 0
    assert load(environment={"DRYSTONE_GC_KEEP_DELETED": "90m"}).gc_keep_deleted == 5400
    said = refusal(config=config(tmp_path, "[gc]\nkeep_delted = 1\n"))
    assert "gc.keep_delted" in said
    assert "did you mean gc_keep_deleted?" in said


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), (0, 0), ("1.5h", 5400), ("24 H", 86400), ("7d", 604800), (2.5, 2.5)]
)
def test_a_time_has_a_unit_or_is_seconds(text: object, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("bad", ["", "-1", "1w", "h", "1h1m", True, "1e3", "9" * 10, "99999d", "٣h", "inf"])
def test_what_is_no_time_is_refused_with_an_example(bad: object) -> None:
    with pytest.raises(ValueError, match='such as "90m"'):
        duration(bad)
