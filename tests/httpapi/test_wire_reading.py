"""The answer to a read, from its headers alone."""

from __future__ import annotations

import pytest

from httpapi.wire.conditions import names_strongly, names_weakly
from httpapi.wire.errors import PreconditionFailed, RangeUnsatisfiable
from httpapi.wire.reading import ReadAnswer, answer_read


def answer(**asked: str) -> ReadAnswer:
    headers = {name.replace("_", "-"): value for name, value in asked.items()}
    return answer_read(headers, image_id="abc", size=10, checksum="d41d")


def test_a_plain_read_gives_the_whole_with_all_headers() -> None:
    assert answer() == ReadAnswer(
        200,
        {
            "ETag": '"abc"',
            "Accept-Ranges": "bytes",
            "Vary": "Accept",
            "Content-Type": "application/octet-stream",
            "Content-MD5": "d41d",
            "Content-Length": "10",
        },
        0,
        10,
    )


def test_a_part_says_which_part_and_keeps_the_checksum_of_the_whole() -> None:
    part = answer(Range="bytes=2-4")
    assert (part.status, part.start, part.stop, part.length) == (206, 2, 5, 3)
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    assert part.headers["Content-Length"] == "3"
    assert part.headers["Content-MD5"] == "d41d"


def test_a_known_tag_gives_304_before_any_range_is_looked_at() -> None:
    for tag in ('"abc"', 'W/"abc"', '"x", "abc"', "*"):
        known = answer(If_None_Match=tag, Range="bytes=99-")
        assert (known.status, known.length) == (304, 0)
        assert "Content-Length" not in known.headers
    assert answer(If_None_Match='"other"').status == 200


def test_if_match_with_another_tag_fails() -> None:
    with pytest.raises(PreconditionFailed):
        answer(If_Match='"other"')
    with pytest.raises(PreconditionFailed):
        answer(If_Match='W/"abc"')
    assert answer(If_Match='"other", "abc"').status == 200
    assert answer(If_Match="*").status == 200


def test_if_range_with_another_tag_gives_the_whole() -> None:
    assert answer(If_Range='"abc"', Range="bytes=0-0").status == 206
    assert answer(If_Range='"other"', Range="bytes=0-0").status == 200
    assert answer(If_Range='"other"', Range="bytes=99-").status == 200
    with pytest.raises(RangeUnsatisfiable):
        answer(If_Range='"abc"', Range="bytes=99-")


def test_tags_are_compared_whole() -> None:
    assert not names_weakly('"abcd"', '"abc"')
    assert not names_strongly("abc", '"abc"')
