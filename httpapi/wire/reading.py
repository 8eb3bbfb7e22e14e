"""How a read of an image is answered: its status and headers, decided from the request's headers alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from httpapi.wire.conditions import etag_of, names_strongly, names_weakly
from httpapi.wire.errors import PreconditionFailed
from httpapi.wire.ranges import Span, honours_if_range, requested_span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONDITIONS = ("If-Match", "If-None-Match")
"""The request headers that decide whether a read is answered with bytes at all."""

PARTS = ("If-Range", "Range", "Content-Range")
"""The request headers that ask for a part; of a GET only, HEAD has no parts (RFC 9110, section 14.2)."""


STORED = "application/zstd"
"""The media type of an image as it is stored: zstd frames one after another (RFC 8878)."""


def wants_stored(accept: str | None) -> bool:
    """Whether an Accept header names `application/zstd` itself, and not with q=0 or below octet-stream."""
    return prefers(accept, STORED, "application/octet-stream")


READS_NO_JSON_ERRORS = "python-glanceclient"
"""How the User-Agent of a client begins, Nova's and Cinder's too, that wants JSON errors nested and fails over ours."""


def prefers_page(accept: str | None, agent: str | None = None) -> bool:
    """Whether an Accept header ranks HTML above JSON, as browsers do; equals, wildcards and none mean JSON.

    `agent` is the User-Agent: one client needs HTML unless it says that it takes JSON.
    """
    page, usual = "text/html", "application/json"
    if prefers(accept, usual, page):
        return False
    return prefers(accept, page, usual) or (agent or "").startswith(READS_NO_JSON_ERRORS)


def prefers(accept: str | None, kind: str, usual: str) -> bool:
    """Whether an Accept header names this type itself, and not with q=0 or below the usual one.

    A wildcard means nothing here: who sends one gets the usual one.
    """
    wanted = kind
    quality = {wanted: 0.0, usual: 0.0}
    for part in (accept or "").lower().split(","):
        kind, *parameters = (text.strip() for text in part.split(";"))
        if kind in quality:
            quality[kind] = _quality(parameters)
    return quality[wanted] > 0 and quality[wanted] >= quality[usual]


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """Status, headers, and the bytes from `start` to, not including, `stop`; none of them for a 304.

    `stored`: they are sent as zstd frames.
    """

    status: int
    headers: Mapping[str, str]
    start: int
    stop: int
    stored: bool = False

    @property
    def length(self) -> int:
        """How many bytes the body has."""
        return self.stop - self.start


def answer_read(
    asked: Mapping[str, str], *, image_id: str, size: int, checksum: str | None, stored: bool = False
) -> ReadAnswer:
    """The answer to a GET or HEAD of `size` bytes, in the order of RFC 9110, section 13.2.2.

    `asked` holds the headers named in `CONDITIONS` and `PARTS` as they came, several lines of one joined by commas.
    `stored`: as zstd frames, which move when packs are compacted; so the tag is weak, there are no ranges, and the
    length is not known before. Raises PreconditionFailed, SeveralRanges and RangeUnsatisfiable.
    """
    etag = f"W/{etag_of(image_id)}" if stored else etag_of(image_id)
    if (if_match := asked.get("If-Match")) is not None and not names_strongly(if_match, etag):
        raise PreconditionFailed(f"The bytes of this image have the tag {etag}, which If-Match does not name.")
    headers = {"ETag": etag, "Accept-Ranges": "none" if stored else "bytes", "Vary": "Accept"}
    if (if_none_match := asked.get("If-None-Match")) is not None and names_weakly(if_none_match, etag_of(image_id)):
        return ReadAnswer(304, headers, 0, 0)
    if stored:
        return ReadAnswer(200, headers | {"Content-Type": STORED}, 0, size, stored=True)
    headers["Content-Type"] = "application/octet-stream"
    if checksum is not None:
        # Hex, and of the whole image even in a part of it: so the Images API has it, and clients compare that.
        headers["Content-MD5"] = checksum
    span = _span(asked, size, etag)
    if span is None:
        return ReadAnswer(200, headers | {"Content-Length": str(size)}, 0, size)
    headers |= {"Content-Length": str(span.length), "Content-Range": span.content_range()}
    return ReadAnswer(206, headers, span.start, span.stop)


def _span(asked: Mapping[str, str], size: int, etag: str) -> Span | None:
    if not honours_if_range(asked.get("If-Range"), etag):
        return None
    return requested_span(size, range_=asked.get("Range"), content_range=asked.get("Content-Range"))
