"""bcrypt's one home: making and checking password hashes, with its two limits told instead of met.

bcrypt looks at 72 bytes and no further, and at none behind a NUL. A longer password would be as good as its first 72
bytes, so none such is made; one that is sent is simply wrong, after as much work as any other.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

import bcrypt

MOST_BYTES: Final = 72
# 2^12 rounds take about a quarter of a second; each step up doubles that.
USUAL_COST: Final = 12
# The next one up takes more than four seconds a check.
HIGHEST_COST: Final = 15
_ENTRY: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}", re.ASCII)
_ALPHABET: Final = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class PasswordRefused(ValueError):
    """A password that cannot be one; the message says why."""


def cost_of(entry: str) -> int | None:
    """The cost of a bcrypt hash ($2a$, $2b$, $2y$): each check takes 2^cost rounds. None if it is no such hash."""
    match = _ENTRY.fullmatch(entry)
    return int(match[1]) if match and int(match[1]) >= 4 else None


def hash_of(password: str, *, cost: int = USUAL_COST) -> str:
    """A new hash ($2b$) of a password; raises PasswordRefused for one that bcrypt would cut short."""
    raw = password.encode()
    if not raw:
        raise PasswordRefused("an empty password is none: choose another one")
    if len(raw) > MOST_BYTES:
        raise PasswordRefused(
            f"the password has {len(raw)} bytes and bcrypt looks at {MOST_BYTES} only: choose a shorter one"
        )
    if b"\0" in raw:
        raise PasswordRefused("the password holds a NUL, where bcrypt stops looking: choose another one")
    return bcrypt.hashpw(raw, bcrypt.gensalt(cost)).decode()


def is_right(password: bytes, entry: str) -> bool:
    """Whether `password` belongs to the hash `entry`; takes equally long for every password. For a thread."""
    possible = len(password) <= MOST_BYTES and b"\0" not in password
    looked_at = password[:MOST_BYTES].replace(b"\0", b"?")
    return bcrypt.checkpw(looked_at, entry.encode()) and possible


def nobodys_hash(cost: int) -> str:
    """A hash that belongs to no known password, to be checked in place of a user who does not exist."""
    return bcrypt.gensalt(cost).decode() + "".join(secrets.choice(_ALPHABET) for _ in range(31))
