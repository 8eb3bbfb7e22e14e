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
