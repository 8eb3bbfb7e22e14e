"""A listing's page as one statement, read off the indexes in order: no sort, no OFFSET, no scan of what is skipped.

A caller who sees a part asks for several disjoint parts (the own images, others' public ones), each with an index that
is in order already; the database merges them and stops at the page's end. The next page begins behind the last image
of the one before, by its values: so the hundredth page costs what the first does, and images that come and go
meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import LargeBinary, and_, asc, cast, desc, false, func, not_, or_, select, true, union_all

from catalog.model.query import Between, HasTag, OneOf, PropertyIs
from catalog.sql.image_rows import image_row
from catalog.sql.tables import image_properties, image_tags, images
from catalog.sql.times import to_us

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Column, ColumnElement, CompoundSelect, Select, UnaryExpression

    from catalog.model.image import Image
    from catalog.model.query import Filter, ImageQuery, Scope, Sort

    Statement: TypeAlias = Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]


def page_statement(scope: Scope, query: ImageQuery, after: Image | None) -> Statement:
    """The rows of one page and of one image more, if there is one; `query.limit` is not 0."""
    conditions = [images.c.os_hidden == query.os_hidden, *(_holds(each) for each in query.filters)]
    if query.visibility is not None:
        conditions.append(images.c.visibility == query.visibility.value)
    if after is not None:
        conditions.append(_behind(image_row(after), query.sort))
    parts = [select(images).where(part, *conditions) for part in _parts(scope)]
    whole: Statement = parts[0] if len(parts) == 1 else union_all(*parts)
    order: list[UnaryExpression[Any]] = [desc(sort.key) if sort.descending else asc(sort.key) for sort in query.sort]
    return whole.order_by(*order).limit(query.limit + 1)


def text_weights(ids: Sequence[str]) -> Select[str, int]:
    """How many bytes of UTF-8 the properties and tags of each image have; an image without any has no row.

    Measured by the database, so that what does not fit on a page never gets into memory.
    """
    properties = select(
        image_properties.c.image_id, (_bytes(image_properties.c.name) + _bytes(image_properties.c.value)).label("bytes")
    )
    tags = select(image_tags.c.image_id, _bytes(image_tags.c.tag).label("bytes"))
    texts = union_all(
        properties.where(image_properties.c.image_id.in_(ids)), tags.where(image_tags.c.image_id.in_(ids))
    ).subquery()
    return select(texts.c.image_id, func.sum(texts.c.bytes)).group_by(texts.c.image_id)


def _bytes(column: Column[str]) -> ColumnElement[int]:
    # The length of a text counts characters.
    return func.length(cast(column, LargeBinary))


def _parts(scope: Scope) -> Iterator[ColumnElement[bool]]:
    if scope.everything:
        yield true()
        return
    yield images.c.owner == scope.project
    for visibility in sorted(scope.others):
        yield and_(images.c.visibility == visibility.value, images.c.owner.is_distinct_from(scope.project))


def _holds(condition: Filter) -> ColumnElement[bool]:
    match condition:
        case OneOf(attribute, (value,)):
            return images.c[attribute] == value
        case OneOf(attribute, values):
            return images.c[attribute].in_(values)
        case Between():
            return _lies_between(condition)
        case PropertyIs(name, value):
            found = image_properties.c.name == name, image_properties.c.value == value
            return images.c.id.in_(select(image_properties.c.image_id).where(*found))
        case HasTag(tag):
            return images.c.id.in_(select(image_tags.c.image_id).where(image_tags.c.tag == tag))


def _lies_between(condition: Between) -> ColumnElement[bool]:
    column = images.c[condition.attribute]
    bounds: list[ColumnElement[bool]] = []
    if condition.low is not None:
        bounds.append(column >= _bound(condition.low))
    if condition.high is not None:
        bounds.append(column <= _bound(condition.high))
    inside = and_(true(), *bounds)
    return not_(inside) if condition.outside else inside


def _bound(value: int | datetime) -> int:
    return to_us(value) if isinstance(value, datetime) else value


def _behind(last: dict[str, Any], order: Sequence[Sort]) -> ColumnElement[bool]:
    """Whether a row comes after the row `last`: beyond it by the first key, or equal there and beyond by the next.

    The first key's bound stands alone too, where an index can use it.
    """
    beyond: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for sort in order:
        value = last[sort.key]
        beyond.append(and_(*equal, _beyond(sort, value)))
        equal.append(images.c[sort.key] == value)
    return and_(_not_before(order[0], last[order[0].key]), or_(*beyond))


def _beyond(sort: Sort, value: Any) -> ColumnElement[bool]:  # noqa: ANN401 - any column's value
    # No value comes before all others when ascending, as SQLite sorts; PostgreSQL is told so with NULLS FIRST.
    column: Column[Any] = images.c[sort.key]
    if value is None:
        return false() if sort.descending else column.is_not(None)
    if not sort.descending:
        return and_(column > value)
    return or_(column < value, column.is_(None)) if column.nullable else and_(column < value)


def _not_before(sort: Sort, value: Any) -> ColumnElement[bool]:  # noqa: ANN401 - any column's value
    column: Column[Any] = images.c[sort.key]
    if value is None:
        return column.is_(None) if sort.descending else true()
    if not sort.descending:
        return and_(column >= value)
    return or_(column <= value, column.is_(None)) if column.nullable else and_(column <= value)
