"""Every setting of the server, and the only place that reads a file, the environment or a flag for one.

Flags go before `DRYSTONE_*` variables, these before the file, the file before the defaults. A name that is not a
setting is refused, with the setting that it looks like: a misspelt one must not be silently a default.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from httpapi import setting_values as values
from httpapi.setting_values import Listen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from httpapi.setting_values import Network

DEFAULT_LISTEN = Listen("127.0.0.1", 9292)
PREFIX = "DRYSTONE_"
# Variables that share the prefix and are not the server's: where its configuration is, and the client's own.
NOT_SETTINGS = frozenset({"DRYSTONE_CONFIG", "DRYSTONE_ENDPOINT", "DRYSTONE_PROJECT"})


class SettingsRefused(Exception):
    """A setting cannot be used; the message names it, where it came from, and what is expected."""


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
    generation_bytes: int = 256 << 20
    generation_seconds: float = 2.0
    image_size_cap: int = 1 << 40
    identity: str = "none"
    identity_user: str = "admin"
    identity_project: str = "default"
    identity_roles: frozenset[str] = frozenset({"admin", "member", "reader"})
    identity_file: Path | None = None
    identity_accounts: Path | None = None
    hashes: str = "inline"
    jobs: int = 1
    metrics: str = "admin"
    log_level: str = "info"
    log_format: str = "text"
    shutdown_grace: float = 30.0
    body_timeout: float = 60.0


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
    variables = os.environ if environment is None else environment
    named = config if config is not None else _path_in(variables)
    chosen: dict[str, object] = {}
    if named is not None:
        chosen |= _from_file(named)
    chosen |= _from_environment(variables)
    chosen |= {key: _read(key, value, "the command line") for key, value in (flags or {}).items() if value is not None}
    return Settings(**chosen)  # type: ignore[arg-type]  # each value went through its reader


def _path_in(variables: Mapping[str, str]) -> Path | None:
    named = variables.get("DRYSTONE_CONFIG")
    return Path(named) if named else None


def _from_file(path: Path) -> dict[str, object]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsRefused(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsRefused(f"The configuration {path} is not TOML: {error}.") from error
    return {key: _read(_known(key, str(path)), value, str(path)) for key, value in document.items()}


def _from_environment(variables: Mapping[str, str]) -> dict[str, object]:
    chosen: dict[str, object] = {}
    for name, text in variables.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            key = _known(name.removeprefix(PREFIX).lower(), "the environment", shown=name)
            chosen[key] = _read(key, text, name)
    return chosen


def _known(key: str, source: str, *, shown: str | None = None) -> str:
    if key in _READERS:
        return key
    near = difflib.get_close_matches(key, _READERS, n=1)
    upper = shown is not None
    hint = f"did you mean {PREFIX + near[0].upper() if upper else near[0]}?" if near else "see httpapi/README.md."
    raise SettingsRefused(f"{shown or key} in {source} is no setting: {hint}")


def _read(key: str, value: object, source: str) -> object:
    try:
        return _READERS[key](value)
    except ValueError as error:
        raise SettingsRefused(f"{key} in {source}: {error}") from None


_READERS: dict[str, Callable[[object], object]] = {
    "data": values.path,
    "listen": values.listen,
    "workers": values.count(1, 64),
    "public_url": values.url,
    "trusted_proxies": values.networks,
    "tls_certificate": values.path,
    "tls_key": values.path,
    "insecure": values.switch,
    "block_size": values.block_size,
    "slab_budget": values.size_of_at_least(16 << 20),
    "generation_bytes": values.size_of_at_least(1 << 20),
    "generation_seconds": values.seconds,
    "image_size_cap": values.size_of_at_least(1),
    "identity": values.one_of("none", "basic"),
    "identity_user": values.text,
    "identity_project": values.text,
    "identity_roles": values.roles,
    "identity_file": values.path,
    "identity_accounts": values.path,
    "hashes": values.one_of("inline", "background"),
    "jobs": values.count(0, 64),
    "metrics": values.one_of("admin", "open", "off"),
    "log_level": values.one_of("debug", "info", "warning", "error"),
    "log_format": values.one_of("text", "json"),
    "shutdown_grace": values.seconds,
    "body_timeout": values.seconds,
}
SETTING_NAMES = tuple(each.name for each in fields(Settings))
