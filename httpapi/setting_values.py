"""How each setting is read: one function a kind of value, from TOML's types, a variable's text or a flag.

Each raises ValueError with what it expected; `settings.py` puts the setting's name and its source before that.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

Network: TypeAlias = IPv4Network | IPv6Network
Reader: TypeAlias = "Callable[[object], object]"

UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
TIMES = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)
HOST = re.compile(r"\.?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.ASCII)
SIZE = re.compile(r"([0-9]{1,18})\s*([a-z]*)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: a host name or address without brackets, and a port (0 takes a free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def text(value: object) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a text that is not empty, not {value!r}.")
    return value.strip()


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that is shown nowhere, except by `revealed` to what needs it."""

    revealed: str = field(repr=False)

    def __str__(self) -> str:
        return "set, and not shown"


def secret(value: object) -> Secret:
    """A text that is not empty, every blank its own."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("expected a text that is not empty.")
    return Secret(value)


def path(value: object) -> Path:
    """A path; ~ is the user's home."""
    return value if isinstance(value, Path) else Path(text(value)).expanduser()


def size(value: object) -> int:
    """Bytes, as a number or with a unit."""
    match = None if isinstance(value, bool) else SIZE.fullmatch(str(value).strip())
    if match is None or match[2].lower() not in UNITS:
        raise ValueError(f'expected bytes, as a number or such as "64KiB", not {value!r}.')
    return int(match[1]) * UNITS[match[2].lower()]


def size_of_at_least(least: int) -> Callable[[object], int]:
    """A reader of sizes that refuses smaller ones."""

    def read(value: object) -> int:
        found = size(value)
        if found < least:
            raise ValueError(f"expected at least {least} bytes, not {found}.")
        return found

    return read


def block_size(value: object) -> int:
    """A power of two that the manifests can have."""
    found = size(value)
    if found & (found - 1) or not 4 << 10 <= found <= 4 << 20:
        raise ValueError(f"expected a power of two from 4KiB to 4MiB, not {found} bytes.")
    return found


def duration(value: object) -> float:
    """A time in seconds, as a number of them or with a unit; 0 is one."""
    if isinstance(value, (int, float)):
        found = -1.0 if isinstance(value, bool) else float(value)
    else:
        match = TIME.fullmatch(str(value).strip())
        found = -1.0 if match is None else float(match[1]) * TIMES.get(match[2].lower(), math.inf)
    if not 0 <= found <= 1e9:
        raise ValueError(f'expected a time, as seconds or such as "90m", "24h" or "7d", not {value!r}.')
    return found


def seconds(value: object) -> float:
    """As `duration`, and not 0."""
    found = duration(value)
    if not found:
        raise ValueError(f"expected a time of more than 0, not {value!r}.")
    return found


def listen(value: object) -> Listen:
    """HOST:PORT."""
    if isinstance(value, Listen):
        return value
    host, colon, port = text(value).rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise ValueError(f"expected HOST:PORT, such as 127.0.0.1:9292 or [::1]:9292, not {value!r}.")
    if ":" in bare and not host.startswith("["):
        raise ValueError(f"an IPv6 address stands in brackets, such as [::1]:9292; got {value!r}.")
    return Listen(bare, int(port[:6]))


def one_of(*words: str) -> Callable[[object], str]:
    """A reader of one of these words."""

    def read(value: object) -> str:
        word = text(value).lower()
        if word not in words:
            raise ValueError(f"expected one of {', '.join(words)}, not {value!r}.")
        return word

    return read


def _words(value: object, expected: str) -> frozenset[str]:
    """Words in lower case: a list of them, or a text with commas."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"expected {expected}, not {value!r}.")
    return frozenset(word.strip().lower() for word in words if word.strip())


def roles(value: object) -> frozenset[str]:
    """A list of roles, or a text with commas."""
    return _words(value, 'roles, as a list or such as "admin,member"')


def some_of(*words: str) -> Callable[[object], frozenset[str]]:
    """A reader of any of these words, as a list or a text with commas."""

    def read(value: object) -> frozenset[str]:
        found = _words(value, f'some of {", ".join(words)}, as a list or such as "{",".join(words)}"')
        if not found <= set(words):
            raise ValueError(f"expected some of {', '.join(words)}, not {value!r}.")
        return found

    return read


def pairs(value: object) -> tuple[str, ...]:
    """Texts KEY=VALUE: a list of them, a text with commas, or a table; no key twice."""
    if isinstance(value, dict):
        value = [f"{key}={each}" for key, each in value.items()]
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError(f'expected properties, as a list or such as "os_type=linux,tier=gold", not {value!r}.')
    told = [each.strip() for each in found if each.strip()]
    keys = [each.partition("=")[0].strip() for each in told]
    if not all(keys) or not all("=" in each for each in told) or len(set(keys)) < len(keys):
        raise ValueError(f'expected properties, each such as "os_type=linux" and no key twice, not {value!r}.')
    return tuple(told)


def ports(value: object) -> frozenset[int]:
    """Ports, as a list of numbers or a text with commas."""
    many = value if isinstance(value, list) else str(value).split(",")
    read = count(1, 65535)
    return frozenset(read(each) for each in many if str(each).strip())


def hosts(value: object) -> tuple[str, ...]:
    """Hosts, as a list or a text with commas: names, beginnings with a dot for all names below them, or addresses."""
    expected = 'hosts, as a list or such as "mirror.example.org,.lab.example.org,10.0.0.1"'
    found = _words(value, expected)
    if not all(HOST.fullmatch(each) or _is_address(each) for each in found):
        raise ValueError(f"expected {expected}, without scheme and port, not {value!r}.")
    return tuple(sorted(str(ip_address(each)) if _is_address(each) else each for each in found))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def count(least: int, most: int) -> Callable[[object], int]:
    """A reader of whole numbers in a range, both ends included."""

    def read(value: object) -> int:
        digits = "" if isinstance(value, bool) else str(value).strip()
        if not digits.isascii() or not digits.isdigit() or not least <= int(digits[:9]) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}, not {value!r}.")
        return int(digits[:9])

    return read


def switch(value: object) -> bool:
    """Yes or no."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    found = value if isinstance(value, bool) else words.get(str(value).strip().lower())
    if found is None:
        raise ValueError(f"expected true or false, not {value!r}.")
    return found


def url(value: object) -> str:
    """The address under which others reach the server: http or https, a host, perhaps a path; no slash at the end."""
    address = text(value).rstrip("/")
    try:
        parts = urlsplit(address)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not fits or parts.query or parts.fragment or parts.username or any(c.isspace() for c in address):
        raise ValueError(f"expected such as https://images.example.org or https://example.org/images, not {value!r}.")
    return address


def networks(value: object) -> tuple[Network, ...]:
    """Addresses and networks, as a list or a text with commas."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f'expected addresses, as a list or such as "10.0.0.1,192.168.0.0/16", not {value!r}.')
    try:
        return tuple(ip_network(word.strip()) for word in words if word.strip())
    except ValueError as error:
        raise ValueError(f"expected addresses or networks without host bits: {error}.") from None
