"""A listing's page as one statement, read off the indexes in order: no sort, no OFFSET, no scan of what is skipped.

A caller who sees a part asks for several disjoint parts (the own images, others' public ones, those that are shared
with the caller), each with an index that is in order already; the database merges them and stops at the page's end.
What is shared is in order of age; in another order as many images are sorted as are shared with the caller. The next
page begins behind the last image of the one before, by its values: so the hundredth page costs what the first does,
and images that come and go meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import and_, asc, desc, false, not_, or_, select, true, union_all
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.selectable import Join

from catalog.model.image import Visibility
from catalog.model.query import Between, HasTag, OneOf, PropertyIs
from catalog.sql.image_rows import image_row
from catalog.sql.tables import image_members, image_properties, image_tags, images
from catalog.sql.times import to_us

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Column, ColumnElement, CompoundSelect, Select, UnaryExpression
    from sqlalchemy.sql.compiler import SQLCompiler

    from catalog.model.image import Image
    from catalog.model.query import Filter, ImageQuery, Scope, Sort

    Statement: TypeAlias = Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]


def page_statement(scope: Scope, query: ImageQuery, after: Image | None) -> Statement:
    """The rows of one page and of one image more, if there is one; `query.limit` is not 0."""
    conditions = [images.c.os_hidden == query.os_hidden, *(_holds(each) for each in query.filters)]
    if query.visibility is not None:
        conditions.append(images.c.visibility == query.visibility.value)
    behind = None if after is None else image_row(after)
    parts = [
        part.rows.where(*conditions, *(() if behind is None else (_behind(behind, query.sort, part.columns),)))
        for part in _parts(scope)
    ]
    whole: Statement = parts[0] if len(parts) == 1 else union_all(*parts)
    order: list[UnaryExpression[Any]] = [desc(sort.key) if sort.descending else asc(sort.key) for sort in query.sort]
    return whole.order_by(*order).limit(query.limit + 1)


@dataclass(frozen=True, slots=True)
class _Part:
    """Images of one kind, and the columns by which they are in order."""

    rows: Select[*tuple[Any, ...]]
    columns: Mapping[str, Column[Any]]


_OF_IMAGES: Final[Mapping[str, Column[Any]]] = {column.name: column for column in images.c}
# Where memberships lead to the images, their own index has the order of age.
_OF_MEMBERSHIPS: Final[Mapping[str, Column[Any]]] = {
    **_OF_IMAGES,
    "id": image_members.c.image_id,
    "created_at": image_members.c.image_created_at,
}


class _LeftFirst(Join):
    """A join in which SQLite goes from the left table to the right one.

    It would else walk over all images that are shared with anybody, which are nearly all there are, where one of their
    indexes has the order that was asked for.
    """

    inherit_cache = True


@compiles(_LeftFirst, "sqlite")
def _left_first(join: _LeftFirst, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the compiler's own
    assert join.onclause is not None, "it is made with one"
    left, right = (compiler.process(table, **options | {"asfrom": True}) for table in (join.left, join.right))
    return f"{left} CROSS JOIN {right} ON {compiler.process(join.onclause, **options | {'asfrom': False})}"


def _parts(scope: Scope) -> Iterator[_Part]:
    if scope.everything:
        yield _Part(select(images), _OF_IMAGES)
        return
    yield _Part(select(images).where(images.c.owner == scope.project), _OF_IMAGES)
    others = images.c.owner.is_distinct_from(scope.project)
    for visibility in sorted(scope.others):
        yield _Part(select(images).where(images.c.visibility == visibility.value, others), _OF_IMAGES)
    for status in sorted(scope.answers):
        columns = (column.label(name) for name, column in _OF_MEMBERSHIPS.items())
        shared = select(*columns).select_from(
            _LeftFirst(image_members, images, image_members.c.image_id == images.c.id)
        )
        mine = image_members.c.member == scope.project, image_members.c.status == status.value
        yield _Part(shared.where(*mine, images.c.visibility == Visibility.SHARED.value, others), _OF_MEMBERSHIPS)


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


def _behind(last: dict[str, Any], order: Sequence[Sort], columns: Mapping[str, Column[Any]]) -> ColumnElement[bool]:
    """Whether a row comes after the row `last`: beyond it by the first key, or equal there and beyond by the next.

    The first key's bound stands alone too, where an index can use it.
    """
    beyond: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for sort in order:
        value = last[sort.key]
        beyond.append(and_(*equal, _beyond(columns[sort.key], sort, value)))
        equal.append(columns[sort.key] == value)
    return and_(_not_before(columns[order[0].key], order[0], last[order[0].key]), or_(*beyond))


def _beyond(column: Column[Any], sort: Sort, value: Any) -> ColumnElement[bool]:  # noqa: ANN401 - any column's value
    # No value comes before all others when ascending, as SQLite sorts; PostgreSQL is told so with NULLS FIRST.
    if value is None:
        return false() if sort.descending else column.is_not(None)
    if not sort.descending:
        return and_(column > value)
    return or_(column < value, column.is_(None)) if column.nullable else and_(column < value)


def _not_before(column: Column[Any], sort: Sort, value: Any) -> ColumnElement[bool]:  # noqa: ANN401 - the same
    if value is None:
        return column.is_(None) if sort.descending else true()
    if not sort.descending:
        return and_(column >= value)
    return or_(column <= value, column.is_(None)) if column.nullable else and_(column <= value)
