"""Pages of lists under a policy that hides more than the database is asked to leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from catalog.model.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

MOST_PAGES: Final = 16
"""So many pages one request looks at: no caller makes the database read all that is hidden."""
LARGEST_PAGE: Final = 1000
"""Pages grow to this, so that a request for single items looks as far as any other: at more than ten thousand."""
_GROWTH: Final = 4


def judged(
    page_behind: Callable[[T | None, int], tuple[Sequence[T], bool]],
    seen: Callable[[T], bool],
    after: T | None,
    limit: int,
) -> tuple[tuple[T, ...], bool]:
    """What is `seen` of the first page behind `after` that has any of it, at most `limit`, and whether more follows.

    So a page may be shorter than was asked for, and is empty only where nothing follows. `page_behind` gives a page of
    so many items and whether more follow. Raises Invalid where too much in a row is hidden.
    """
    size = limit
    for _ in range(MOST_PAGES):
        items, more = page_behind(after, size)
        left = tuple(item for item in items if seen(item))
        if left or not more:
            return left[:limit], more or len(left) > limit
        after = items[-1]
        size = max(limit, min(_GROWTH * size, LARGEST_PAGE))
    raise Invalid("The policy hides too much of this list in a row from you; ask for less of it, by filters.")
