"""Every setting of the server, and the only place that reads a file, the environment or a flag for one.

Flags go before `DRYSTONE_*` variables, these before the file, the file before the defaults. A name that is not a
setting is refused, with the setting that it looks like: a misspelt one must not be silently a default.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "DRYSTONE_"
# Variables that share the prefix and are not the server's: where its configuration is, and the client's own.
NOT_SETTINGS = frozenset({"DRYSTONE_CONFIG", "DRYSTONE_ENDPOINT", "DRYSTONE_PROJECT"})

_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,18})\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_LEVELS = ("debug", "info", "warning", "error")


class SettingsRefused(Exception):
    """A setting cannot be used; the message names it, where it came from, and what is expected."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: a host name or address without brackets, and a port (0 takes a free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one server process; sizes in bytes, times in seconds."""

    data: Path = Path("data")
    listen: Listen = Listen("127.0.0.1", 9292)
    block_size: int = 64 << 10
    slab_budget: int = 96 << 20
    generation_bytes: int = 256 << 20
    generation_seconds: float = 2.0
    image_size_cap: int = 1 << 40
    identity: str = "none"
    identity_user: str = "admin"
    identity_project: str = "default"
    identity_roles: frozenset[str] = frozenset({"admin", "member", "reader"})
    log_level: str = "info"
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


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a text that is not empty, not {value!r}.")
    return value.strip()


def _path(value: object) -> Path:
    return value if isinstance(value, Path) else Path(_text(value)).expanduser()


def _size(value: object) -> int:
    match = None if isinstance(value, bool) else _SIZE.fullmatch(str(value).strip())
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(f'expected bytes, as a number or such as "64KiB", not {value!r}.')
    return int(match[1]) * _UNITS[match[2].lower()]


def _size_of_at_least(least: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        size = _size(value)
        if size < least:
            raise ValueError(f"expected at least {least} bytes, not {size}.")
        return size

    return read


def _block_size(value: object) -> int:
    size = _size(value)
    if size & (size - 1) or not 4 << 10 <= size <= 4 << 20:
        raise ValueError(f"expected a power of two from 4KiB to 4MiB, not {size} bytes.")
    return size


def _seconds(value: object) -> float:
    try:
        seconds = -1.0 if isinstance(value, bool) else float(str(value))
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise ValueError(f"expected seconds, more than 0, not {value!r}.")
    return seconds


def _listen(value: object) -> Listen:
    if isinstance(value, Listen):
        return value
    host, colon, port = _text(value).rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise ValueError(f"expected HOST:PORT, such as 127.0.0.1:9292 or [::1]:9292, not {value!r}.")
    if ":" in bare and not host.startswith("["):
        raise ValueError(f"an IPv6 address stands in brackets, such as [::1]:9292; got {value!r}.")
    return Listen(bare, int(port[:6]))


def _one_of(*words: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        word = _text(value).lower()
        if word not in words:
            raise ValueError(f"expected one of {', '.join(words)}, not {value!r}.")
        return word

    return read


def _roles(value: object) -> frozenset[str]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f'expected roles, as a list or such as "admin,member", not {value!r}.')
    return frozenset(word.strip().lower() for word in words if word.strip())


_READERS: dict[str, Callable[[object], object]] = {
    "data": _path,
    "listen": _listen,
    "block_size": _block_size,
    "slab_budget": _size_of_at_least(16 << 20),
    "generation_bytes": _size_of_at_least(1 << 20),
    "generation_seconds": _seconds,
    "image_size_cap": _size_of_at_least(1),
    "identity": _one_of("none"),
    "identity_user": _text,
    "identity_project": _text,
    "identity_roles": _roles,
    "log_level": _one_of(*_LEVELS),
    "shutdown_grace": _seconds,
    "body_timeout": _seconds,
}
SETTING_NAMES = tuple(each.name for each in fields(Settings))
