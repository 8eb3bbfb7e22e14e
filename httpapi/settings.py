"""Every setting of the server, and the only place that reads a file, the environment or a flag for one.

Flags go before `DRYSTONE_*` variables, these before the file, the file before the defaults. A name that is not a
setting is refused, with the setting that it looks like: a misspelt one must not be silently a default.
"""

from __future__ import annotations

import difflib
import os
import sys
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from catalog.model.deleted import KEEP_DELETED
from httpapi.metrics.place import DIRECTORY_VARIABLE
from httpapi.setting_readers import READERS
from httpapi.setting_values import Listen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from httpapi.setting_values import Network, Secret

DEFAULT_LISTEN = Listen("127.0.0.1", 9292)
PREFIX = "DRYSTONE_"
# Variables that share the prefix and are not the server's: where its configuration is, and the client's own.
NOT_SETTINGS = frozenset(
    {
        "DRYSTONE_CONFIG",
        "DRYSTONE_ENDPOINT",
        "DRYSTONE_PROJECT",
        "DRYSTONE_USER",
        "DRYSTONE_PASSWORD",
        "DRYSTONE_CACERT",
    }
)

NOT_HANDED_ON: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", DIRECTORY_VARIABLE})
CATALOG_FILE: Final = "catalog.sqlite"


class SettingsRefused(Exception):
    """A setting cannot be used; the message names it, where it came from, and what is expected."""

    @classmethod
    def over(cls, where: str, problems: Sequence[str]) -> SettingsRefused:
        """All that is wrong with a file, a sentence each, in one message."""
        first, *others = problems
        more = f" And {len(others)} more: {' '.join(others)}" if others else ""
        return cls(f"{where}: {first}{more}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one server process; sizes in bytes, times in seconds."""

    data: Path = Path("data")
    listen: Listen = DEFAULT_LISTEN
    workers: int = 1
    public_url: str | None = None
    trusted_proxies: tuple[Network, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False
    block_size: int = 64 << 10
    slab_budget: int = 96 << 20
    generation_bytes: int = 64 << 20
    generation_seconds: float = 2.0
    image_size_cap: int = 1 << 40
    identity: str = "none"
    identity_user: str = "admin"
    identity_project: str = "default"
    identity_roles: frozenset[str] = frozenset({"admin", "member", "reader"})
    identity_file: Path | None = None
    identity_accounts: Path | None = None
    keystone_auth_url: str | None = None
    keystone_public_url: str | None = None
    keystone_username: str = "drystone"
    keystone_password: Secret | None = None
    keystone_password_file: Path | None = None
    keystone_user_domain: str = "Default"
    keystone_project: str = "service"
    keystone_project_domain: str = "Default"
    keystone_service_roles: frozenset[str] = frozenset({"service"})
    keystone_cache_time: float = 300.0
    keystone_timeout: float = 10.0
    keystone_ca_file: Path | None = None
    keystone_insecure: bool = False
    policy_file: Path | None = None
    hashes: str = "inline"
    location_hashes: bool = True
    formats: str = "enforce"
    delta_expiry: float = 86400.0
    staging_expiry: float = 86400.0
    import_methods: frozenset[str] | None = None
    import_convert: str = "off"
    import_decompress: bool = False
    import_inject: tuple[str, ...] = ()
    import_inject_ignore_roles: frozenset[str] = frozenset({"admin"})
    work_dir: Path | None = None
    gc_keep_deleted: float = KEEP_DELETED
    project_uploads: int = 1000
    project_journals: int = 4 << 30
    quota_file: Path | None = None
    stores_file: Path | None = None
    show_locations: bool = False
    show_direct_url: bool = False
    signed_urls: bool = True
    signed_url_longest: float = 7 * 86400.0
    url_keys_file: Path | None = None
    gc_every: float = 86400.0
    gc_rate: int | None = None
    jobs: int = 1
    slow_jobs: int | None = None
    scrub_every: float = 30 * 86400.0
    scrub_rate: int = 32 << 20
    property_protection_file: Path | None = None
    property_protection_rule_format: str = "roles"
    outgoing_schemes: frozenset[str] = frozenset({"http", "https"})
    outgoing_ports: frozenset[int] = frozenset({80, 443})
    outgoing_hosts: tuple[str, ...] = ()
    outgoing_networks: tuple[Network, ...] = ()
    outgoing_timeout: float = 60.0
    convert_user: str = "nobody"
    convert_limit: int = 1 << 40
    convert_memory: int = 1 << 30
    convert_cpu_time: float = 6 * 3600.0
    convert_seconds: float = 24 * 3600.0
    metrics: str = "admin"
    log_level: str = "info"
    log_format: str = "text"
    shutdown_grace: float = 30.0
    header_timeout: float = 30.0
    body_timeout: float = 60.0

    @property
    def catalog(self) -> Path:
        """The catalog's file."""
        return self.data / CATALOG_FILE


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the sources came to: the settings, where each one came from, and what could not be read.

    `sources` has a text for every setting: `default`, the file's path, the variable's or the flag's name. A setting
    that has a problem keeps its value of the source before.
    """

    settings: Settings
    sources: Mapping[str, str]
    problems: tuple[str, ...]


def load(
    *,
    config: Path | None = None,
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The settings from all four sources.

    `flags` holds settings given by hand, None where a flag was not; `environment` is the process's own by default.
    Raises SettingsRefused with one sentence that says what to change.
    """
    loaded = load_all(config=config, flags=flags, environment=environment)
    if loaded.problems:
        raise SettingsRefused(loaded.problems[0])
    return loaded.settings


def load_all(
    *,
    config: Path | None = None,
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """As `load`, with every problem instead of the first one, and with the sources."""
    variables = os.environ if environment is None else environment
    named = config if config is not None else _path_in(variables)
    chosen: dict[str, object] = {}
    sources = dict.fromkeys(SETTING_NAMES, "default")
    problems: list[str] = []
    for key, value, source in _given(named, variables, flags or {}, problems):
        try:
            # On the command line the flag's own name stands for both.
            chosen[key] = _read(key, value, "the command line" if source.startswith("--") else source)
            sources[key] = source
        except SettingsRefused as refusal:
            problems.append(str(refusal))
    settings = Settings(**chosen)  # type: ignore[arg-type]  # each value went through its reader
    return Loaded(settings, sources, tuple(problems))


def notify_variables(environment: Mapping[str, str] | None = None) -> tuple[str, str]:
    """NOTIFY_SOCKET and WATCHDOG_USEC, by which a service manager asks to be told; empty when nobody asks."""
    variables = os.environ if environment is None else environment
    return variables.get("NOTIFY_SOCKET", ""), variables.get("WATCHDOG_USEC", "")


def variable(name: str) -> str | None:
    """A variable that a file of settings names, such as one with a secret; None if there is no such variable."""
    return os.environ.get(name)


def worker_environment(figures: Path) -> dict[str, str]:
    """What a process that this one starts as a worker finds in its environment; `figures` is the folder for them."""
    return child_environment() | {DIRECTORY_VARIABLE: str(figures)}


def child_environment() -> dict[str, str]:
    """What a process that this one starts finds in its environment.

    It imports what this one does, whatever lies in the current directory; it does not speak to the service manager, and
    leaves no figures among those of this one's workers.
    """
    ours = {name: text for name, text in os.environ.items() if name not in NOT_HANDED_ON}
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return ours | {"PYTHONPATH": paths}


def _given(
    config: Path | None, variables: Mapping[str, str], flags: Mapping[str, object], problems: list[str]
) -> Iterator[tuple[str, object, str]]:
    """Key, value and source of all that was given, the weakest first; adds what is no setting to `problems`."""
    if config is not None:
        try:
            document = _from_file(config)
        except SettingsRefused as refusal:
            problems.append(str(refusal))
            document = {}
        flat = ((key, shown, value, str(config)) for key, shown, value in _flat(document))
        yield from _known_ones(flat, problems)
    ours = {name: text for name, text in variables.items() if name.startswith(PREFIX) and name not in NOT_SETTINGS}
    named = ((name.removeprefix(PREFIX).lower(), name, text, name) for name, text in ours.items())
    yield from _known_ones(named, problems)
    for key, value in flags.items():
        if value is not None:
            yield key, value, "--" + key.replace("_", "-")


def _flat(document: Mapping[str, object]) -> Iterator[tuple[str, str, object]]:
    """Key, shown name and value of a file's settings: `every` below `[scrub]` is `scrub_every`."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from ((f"{name}_{inner}", f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, name, value


def _path_in(variables: Mapping[str, str]) -> Path | None:
    named = variables.get("DRYSTONE_CONFIG")
    return Path(named) if named else None


def _from_file(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsRefused(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsRefused(f"The configuration {path} is not TOML: {error}.") from error


def _known_ones(
    found: Iterable[tuple[str, str, object, str]], problems: list[str]
) -> Iterator[tuple[str, object, str]]:
    """Of key, shown name, value and source those whose key is a setting; a sentence for each other one."""
    for key, shown, value, source in found:
        if key in READERS:
            yield key, value, source
        else:
            problems.append(_no_setting(key, shown, source))


def _no_setting(key: str, shown: str, source: str) -> str:
    near = difflib.get_close_matches(key, READERS, n=1)
    upper = shown.startswith(PREFIX)
    hint = f"did you mean {PREFIX + near[0].upper() if upper else near[0]}?" if near else "see httpapi/README.md."
    return f"{shown} in {'the environment' if upper else source} is no setting: {hint}"


def _read(key: str, value: object, source: str) -> object:
    try:
        return READERS[key](value)
    except ValueError as error:
        raise SettingsRefused(f"{key} in {source}: {error}") from None


SETTING_NAMES = tuple(each.name for each in fields(Settings))
