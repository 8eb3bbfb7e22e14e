"""Which bytes of an image a request asks for: Range, the legacy request header Content-Range, If-Range.

Pure functions on header values (RFC 9110, section 14). Two places follow the Images API's habit rather than the
RFC: a Range that cannot be understood is answered 416, not ignored, and several ranges are refused with 400.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from httpapi.wire.conditions import is_same_strongly
from httpapi.wire.errors import RangeUnsatisfiable, SeveralRanges

_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*", re.IGNORECASE | re.ASCII)
_CONTENT_RANGE = re.compile(r"\s*bytes\s+([0-9]+)-([0-9]+)/([0-9]+|\*)\s*", re.IGNORECASE | re.ASCII)
# No image reaches this; int() refuses thousands of digits, so longer numbers are cut down to it.
_BEYOND = 10**30


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` up to, not including, `stop` of an image of `size` bytes; never empty, never beyond the end."""

    start: int
    stop: int
    size: int

    @property
    def length(self) -> int:
        """How many bytes there are in it."""
        return self.stop - self.start

    def content_range(self) -> str:
        """The response header's value, such as `bytes 0-4/10`."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


def unsatisfied(size: int) -> str:
    """The Content-Range of a 416: how many bytes there are."""
    return f"bytes */{size}"


def requested_span(size: int, *, range_: str | None, content_range: str | None) -> Span | None:
    """The one span that the two headers name, or None for the whole image.

    `content_range` in a request is an old habit of the Images API; Range goes before it.
    Raises SeveralRanges (400) and RangeUnsatisfiable (416).
    """
    if range_ is not None:
        return _from_range(range_, size)
    if content_range is not None:
        return _from_content_range(content_range, size)
    return None


def honours_if_range(if_range: str | None, etag: str) -> bool:
    """Whether Range holds under this If-Range: only for the same strong tag; a date never fits, as none is sent."""
    return if_range is None or is_same_strongly(if_range, etag)


def _from_range(text: str, size: int) -> Span:
    if "," in text:
        raise SeveralRanges("One range at a time: ask for each range in a request of its own.")
    match = _RANGE.fullmatch(text)
    if match is None or match[1] == match[2] == "":
        raise RangeUnsatisfiable(f"Range is not of the form bytes=START-END: {text[:80]!r}.", size=size)
    if match[1] == "":
        return _suffix(_number(match[2]), size)
    start = _number(match[1])
    last = _number(match[2]) if match[2] else size - 1
    return _checked(start, last, size)


def _from_content_range(text: str, size: int) -> Span:
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None:
        raise RangeUnsatisfiable(f"Content-Range is not of the form bytes START-END/SIZE: {text[:80]!r}.", size=size)
    return _checked(_number(match[1]), _number(match[2]), size)


def _suffix(count: int, size: int) -> Span:
    if count == 0 or size == 0:
        raise RangeUnsatisfiable(f"The last {count} bytes of {size} are no bytes at all.", size=size)
    return Span(max(0, size - count), size, size)


def _checked(start: int, last: int, size: int) -> Span:
    if start >= size:
        raise RangeUnsatisfiable(f"The range begins beyond the image's {size} bytes.", size=size)
    if last < start:
        raise RangeUnsatisfiable("The range ends before it begins.", size=size)
    return Span(start, min(last + 1, size), size)


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= 30 else _BEYOND
