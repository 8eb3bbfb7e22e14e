"""Sets of block numbers as they travel in JSON: `[[first, count], …]`, ascending and apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blockstore.sent_blocks import NumberRange
from httpapi.wire.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BLOCKS_HEADER = "x-drystone-blocks"
"""Names the blocks that an error is about."""
MOST_NAMED = 64
_FORM = "blocks must be [[first, count], …]: numbers within the image, ascending, not overlapping"


def parse_ranges(value: object, *, blocks: int, most: int | None = None) -> tuple[NumberRange, ...]:
    """The ranges in a JSON value, of an image with so many blocks; BadRequest for anything else.

    `most`: how many numbers there may be in all.
    """
    if not isinstance(value, list):
        raise BadRequest(f"{_FORM}.")
    found: list[NumberRange] = []
    end = total = 0
    for pair in value:
        given = _range(pair)
        if given.first < end or given.stop > blocks:
            raise BadRequest(f"{_FORM}; {[given.first, given.count]} is not, the image has {blocks}.")
        end = given.stop
        total += given.count
        found.append(given)
    if most is not None and total > most:
        raise BadRequest(f"{total} blocks are asked for; {most} are the most for one request.")
    return tuple(found)


def ranges_json(ranges: Iterable[NumberRange]) -> list[list[int]]:
    """The same as a JSON value."""
    return [[each.first, each.count] for each in ranges]


def runs(numbers: Iterable[int]) -> list[NumberRange]:
    """Ascending numbers as ranges."""
    found: list[NumberRange] = []
    for number in numbers:
        if found and found[-1].stop == number:
            found[-1] = NumberRange(found[-1].first, found[-1].count + 1)
        else:
            found.append(NumberRange(number, 1))
    return found


def blocks_header(ranges: Sequence[NumberRange]) -> str:
    """The value of BLOCKS_HEADER: `first-last, …`, the first MOST_NAMED of them."""
    return ", ".join(f"{each.first}-{each.stop - 1}" for each in ranges[:MOST_NAMED])


def _range(pair: object) -> NumberRange:
    match pair:
        case [int(first), int(count)] if not isinstance(first, bool) and not isinstance(count, bool):
            if first >= 0 and count >= 1:
                return NumberRange(first, count)
    raise BadRequest(f"{_FORM}; {str(pair)[:80]} is none.")
