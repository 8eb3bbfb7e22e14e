"""Numbers in a query, read: what is no plain number is refused by name."""

from __future__ import annotations

import re

from httpapi.wire.errors import BadRequest

_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)


def whole_number(text: str | None, name: str, default: int) -> int:
    """The number that a parameter has, or the default without one; raises BadRequest."""
    if text is None:
        return default
    if _DIGITS.fullmatch(text) is None:
        raise BadRequest(f"{name} must be a whole number, 0 or more: {text[:80]!r} is not.")
    return int(text)
