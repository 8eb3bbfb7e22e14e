"""Pages of lists under a policy that hides more than the database is asked to leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def judged(
    page_behind: Callable[[T | None], tuple[Sequence[T], bool]], seen: Callable[[T], bool], after: T | None
) -> tuple[tuple[T, ...], bool]:
    """What is `seen` of the first page behind `after` that has any of it, and whether more follows.

    So a page may be shorter than was asked for, and is empty only where nothing follows.
    """
    while True:
        items, more = page_behind(after)
        left = tuple(item for item in items if seen(item))
        if left or not more:
            return left, more
        after = items[-1]
