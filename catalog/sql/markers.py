"""What comes behind the last image of a page, by its values: as conditions on images, and as spans of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import String, and_, false, literal, or_, tuple_

from catalog.sql.conditions import unindexed
from catalog.sql.tables import images

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Column, ColumnElement

    from catalog.model.query import Sort


def is_behind(last: Mapping[str, Any], order: Sequence[Sort]) -> ColumnElement[bool]:
    """Whether an image comes after `last`: beyond it by the first key, or equal there and beyond by the next."""
    beyond: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for sort in order:
        column, value = unindexed(images.c[sort.key]), last[sort.key]
        beyond.append(and_(*equal, _beyond(column, sort, value)))
        equal.append(column == value)
    return or_(*beyond)


def spans_behind(
    last: Mapping[str, Any], order: Sequence[Sort], columns: Mapping[str, Column[Any]]
) -> Iterator[ColumnElement[bool]]:
    """The same as disjoint spans of the index that has this order: each begins where it is looked up.

    In an order of mixed directions the one span begins with the first key's value, and the images of that are looked
    at one by one.
    """
    first, *ties = order
    column, value = columns[first.key], last[first.key]
    nullable = images.c[first.key].nullable
    if any(sort.descending != first.descending or images.c[sort.key].nullable for sort in ties):
        yield and_(*_from(column, first, value), is_behind(last, order))
        return
    # No value comes before all others when ascending, as SQLite sorts; PostgreSQL is told so with NULLS FIRST.
    if value is None:
        yield and_(column.is_(None), _tuple_beyond(ties, last, columns))
        if not first.descending:
            yield column >= _least(column)
        return
    yield _tuple_beyond(order, last, columns)
    if nullable and first.descending:
        yield column.is_(None)


def _tuple_beyond(
    order: Sequence[Sort], last: Mapping[str, Any], columns: Mapping[str, Column[Any]]
) -> ColumnElement[bool]:
    mine = tuple_(*(columns[sort.key] for sort in order))
    others = tuple_(*(literal(last[sort.key]) for sort in order))
    return mine < others if order[0].descending else mine > others


def _least(column: Column[Any]) -> str | int:
    """What no value is less than: an index can look for it, as it can not for all that have a value."""
    return "" if isinstance(column.type, String) else -(2**63)


def _from(column: Column[Any], sort: Sort, value: Any) -> Iterator[ColumnElement[bool]]:  # noqa: ANN401 - any column's
    if value is None:
        if sort.descending:
            yield column.is_(None)
    elif not sort.descending:
        yield column >= value
    elif not column.nullable:
        yield column <= value


def _beyond(column: ColumnElement[Any], sort: Sort, value: Any) -> ColumnElement[bool]:  # noqa: ANN401 - the same
    if value is None:
        return false() if sort.descending else column.is_not(None)
    if not sort.descending:
        return and_(column > value)
    return or_(column < value, column.is_(None)) if images.c[sort.key].nullable else and_(column < value)
