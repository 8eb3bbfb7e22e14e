"""What an answer says of the file behind it: its length, which version of it this is, and which part of it comes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from catalog.model.errors import SourceLost

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANGE: Final = re.compile(r"bytes (?:([0-9]{1,19})-([0-9]{1,19})|\*)/([0-9]{1,19}|\*)", re.ASCII | re.IGNORECASE)
_STRONG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
# A file that changes twice in a second keeps its date: it must be older than the answer by that (RFC 9110, 8.8.2.2).
_SETTLED: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Version:
    """Which file it is: its size in bytes if that is known, and a text that no other version of it has, if there is."""

    size: int | None
    validator: str | None

    def is_also(self, other: Version) -> bool:
        """Whether both are certainly the same bytes."""
        sizes = None in {self.size, other.size} or self.size == other.size
        return sizes and self.validator is not None and self.validator == other.validator


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200, 206 or 416: the file's version, and what comes, from `start` up to `stop`; None: to an end not yet known.

    `partial`: only what was asked for comes.
    """

    version: Version
    start: int
    stop: int | None
    partial: bool


def read_answer(status: int, headers: Mapping[str, str]) -> Answer:
    """What an answer of these three kinds says; raises SourceLost for one that cannot be relied on."""
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise SourceLost(
            f"The server sends the file in Content-Encoding {encoding[:40]!r} though it was asked not to: "
            "what would be kept are other bytes."
        )
    validator = _validator(headers)
    if status == 200:
        size = _length(headers)
        return Answer(Version(size, validator), 0, size, partial=False)
    found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None or (status == 206) == (found[1] is None):
        raise SourceLost(f"The server answers {status} to a range and does not say which part it sends.")
    total = None if found[3] == "*" else int(found[3])
    if status == 416:
        return Answer(Version(total, validator), 0, 0, partial=True)
    first, last = int(found[1]), int(found[2])
    length = _length(headers)
    if last < first or (total is not None and last >= total) or length not in {None, last - first + 1}:
        raise SourceLost("The server's answer to a range contradicts itself.")
    return Answer(Version(total, validator), first, last + 1, partial=True)


def asked_to_wait(headers: Mapping[str, str]) -> float:
    """The seconds that an answer asks for before the next request (RFC 9110, 10.2.3); 0 where it asks for nothing."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    # By the server's own clock: ours may be another.
    then, now = _date(text), _date(headers.get("Date", ""))
    return 0.0 if then is None or now is None else max(0.0, (then - now).total_seconds())


def _length(headers: Mapping[str, str]) -> int | None:
    """The body's length, None where it comes in chunks; one that ends with its connection could be cut unnoticed."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return None
    text = headers.get("Content-Length", "")
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise SourceLost("The server does not say how long the file is, so nobody could tell whether all of it came.")
    return int(text)


def _validator(headers: Mapping[str, str]) -> str | None:
    """A text for If-Range that names these very bytes."""
    tag = headers.get("ETag", "").strip()
    if _STRONG.fullmatch(tag):
        return tag
    modified = headers.get("Last-Modified", "").strip()
    changed, now = _date(modified), _date(headers.get("Date", ""))
    return modified if changed is not None and now is not None and now - changed >= _SETTLED else None


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return found if found.tzinfo is not None else None
