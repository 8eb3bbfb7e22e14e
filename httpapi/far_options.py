"""How the values of stores that are far away, `s3` and `swift`, are read in a `stores_file`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from httpapi import setting_values as values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX: Final = re.compile(r"(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)*", re.ASCII)
_REGION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)


def endpoint(value: object) -> str:
    """The address of a server, without a login, a query or a slash at its end."""
    found = values.text(value).rstrip("/")
    try:
        parts = urlsplit(found)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or not found.isascii() or re.search(r"[\s@?#]", found):
        # Not quoted: who writes a login into it should not find it in a log.
        raise ValueError("expected an address such as https://s3.example.org, without a name, password or query.")
    return found


def prefix(value: object) -> str:
    """What all names begin with: words of letters, digits, dots, -, _ and ~, and a slash after each."""
    if value == "":
        return ""
    found = values.text(value).strip("/") + "/"
    if not _PREFIX.fullmatch(found):
        raise ValueError(f"expected words of letters, digits, dots, - and _ with slashes between, not {value!r}.")
    return found


def _matching(pattern: re.Pattern[str], expected: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        found = values.text(value)
        if not pattern.fullmatch(found):
            raise ValueError(f"expected {expected}, not {value!r}.")
        return found

    return read


_CONTAINER: Final = re.compile(r"(?!\.\.?$)[^/\s]{1,240}")

_segment_size: Final = values.size_of_at_least(1 << 20)


def segment_size(value: object) -> int:
    """From 1 MiB to the 5 GiB that Swift takes as one object."""
    found = _segment_size(value)
    if found > 5 << 30:
        raise ValueError(f"expected at most 5GiB, the most that Swift takes as one object, not {found} bytes.")
    return found


def auth_version(value: object) -> int:
    """1 is TempAuth, 3 is Keystone's."""
    if isinstance(value, bool) or str(value) not in {"1", "3"}:
        raise ValueError(f"expected 1 (TempAuth) or 3 (Keystone), not {value!r}.")
    return int(str(value))


S3_OPTIONS: Final[Mapping[str, values.Reader]] = {
    "bucket": _matching(_BUCKET, "the name of a bucket: 3 to 63 small letters, digits, dots and -"),
    "endpoint": endpoint,
    "region": _matching(_REGION, "the name of a region, such as eu-central-1"),
    "prefix": prefix,
    "addressing": values.one_of("path", "virtual"),
    "access_key_file": values.text,
    "access_key_env": values.text,
    "secret_key_file": values.text,
    "secret_key_env": values.text,
    "ca_file": values.path,
    "time_out": values.seconds,
}
SWIFT_OPTIONS: Final[Mapping[str, values.Reader]] = {
    "container": _matching(_CONTAINER, "the name of a container, up to 240 characters without blanks and slashes"),
    "auth_url": endpoint,
    "auth_version": auth_version,
    "username": values.text,
    "password_file": values.text,
    "password_env": values.text,
    "user_domain": values.text,
    "project": values.text,
    "project_domain": values.text,
    "application_credential_id": values.text,
    "application_credential_secret_file": values.text,
    "application_credential_secret_env": values.text,
    "region": values.text,
    "interface": values.one_of("public", "internal", "admin"),
    "segment_size": segment_size,
    "ca_file": values.path,
    "time_out": values.seconds,
}
