"""Access rules: what an application credential of Keystone may be used for, and for nothing else.

A rule is a service, a method and a path, in which `*` and `{name}` stand for one part between slashes, or a piece of
one, and `**` for anything. A part that was sent with an escaped slash stays one part, as it does for routes.

Whoever may make a credential writes rules, so matching must not be slow for any: all places of the path that are
reached so far are the bits of one number, and each character or wildcard of a rule moves them all at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

SERVICE: Final = "image"
LONGEST_PATH: Final = 2048
_PIECES: Final = re.compile(r"\*\*|\*|\{[^{}/]*\}|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One request that is allowed, as Keystone tells it."""

    service: str
    method: str
    path: str


def allowed(rules: Iterable[AccessRule], method: str, raw_path: str) -> bool:
    """Whether any of the rules covers this request to the image service; no rules, no requests.

    `raw_path` is the path as it was sent; a query does not count.
    """
    path = "/".join(unquote(part).replace("/", "%2F") for part in raw_path.partition("?")[0].split("/"))
    if len(path) > LONGEST_PATH:
        return False
    places = _Places(path)
    return any(places.match(rule.path) for rule in rules if rule.service == SERVICE and rule.method == method)


class _Places:
    """The places of a path, each a bit: bit n is before its n-th character."""

    def __init__(self, path: str) -> None:
        self._end = 1 << len(path)
        self._all = (self._end << 1) - 1
        self._of: dict[str, int] = {}
        for place, character in enumerate(path):
            self._of[character] = self._of.get(character, 0) | 1 << place
        self._inside = (self._end - 1) & ~self._of.get("/", 0)

    def match(self, pattern: str) -> bool:
        """Whether the pattern covers the whole path."""
        reached = 1
        for piece in _pieces(pattern):
            if piece == "**":
                # Everything from the first place on.
                reached = self._all & -(reached & -reached)
            elif piece == "*" or len(piece) > 1:
                begun = reached & self._inside
                # Added to the ones of a part, a bit carries through to the part's end.
                reached = (((begun + self._inside) ^ self._inside | begun) & self._inside) << 1
            else:
                reached = (reached & self._of.get(piece, 0)) << 1
            if not reached:
                return False
        return bool(reached & self._end)


@lru_cache(maxsize=1024)
def _pieces(pattern: str) -> tuple[str, ...]:
    return tuple(_PIECES.findall(pattern))
