"""Conditions on images, each in the forms that a page's statement can use: to find its images, or to look at others'.

SQLite knows nothing of how many images a condition holds for, and would take any index that fits. So it is left no
choice: one condition, or the order, leads to the images by its index, and the others are put so that no index fits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import UnaryExpression, and_, literal, not_, select, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.operators import custom_op
from sqlalchemy.sql.selectable import Join

from catalog.model.query import Between, HasTag, OneOf, PropertyIs
from catalog.sql.tables import image_members, image_properties, image_tags, images
from catalog.sql.times import to_us

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Column, ColumnElement, Select
    from sqlalchemy.sql.compiler import SQLCompiler

    from catalog.model.member import MemberStatus
    from catalog.model.query import Filter

# As another table, so that a look at it stands on its own within a statement on images.
_FEW: Final = images.alias("few")
_PLUS: Final = custom_op[Any]("+")
OF_IMAGES: Final[Mapping[str, Column[Any]]] = {column.name: column for column in images.c}
_ROWS: Final = select(images)


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One condition on an image.

    `look` holds for an image that was found otherwise. `ids` are its images, found by an index, None if none is worth
    it. `bare` is the condition as an index of `column` can use it. `aged`: its index has its images in order of
    age; `rows` selects them by it, and `columns` are those that are in order.
    """

    look: ColumnElement[bool]
    ids: Select[str] | None = None
    bare: ColumnElement[bool] | None = None
    column: str | None = None
    aged: bool = False
    rows: Select[*tuple[Any, ...]] = _ROWS
    columns: Mapping[str, Column[Any]] = field(default_factory=lambda: OF_IMAGES)


def unindexed(column: Column[Any]) -> ColumnElement[Any]:
    """The column's value, in a form that no index fits."""
    return UnaryExpression(column, operator=_PLUS, type_=column.type)


def equals(name: str, value: object, *, counted: bool = True) -> Condition:
    """A column has this value; not `counted`, where nearly all images have it."""
    column = images.c[name]
    return Condition(
        unindexed(column) == value,
        ids=select(_FEW.c.id).where(_FEW.c[name] == value) if counted else None,
        bare=column == value,
        column=name,
        aged=name != "id",
    )


def is_not_of(project: str) -> Condition:
    """The images of others: no index leads to them."""
    return Condition(unindexed(images.c.owner).is_distinct_from(project))


def shared_with(project: str, status: MemberStatus) -> Condition:
    """The project is a member, and this is what it said; its index of memberships has the order of age."""
    mine = image_members.c.member == project, image_members.c.status == status.value
    answer = select(image_members.c.status).where(image_members.c.image_id == images.c.id, mine[0])
    columns = {**OF_IMAGES, "id": image_members.c.image_id, "created_at": image_members.c.image_created_at}
    joined = _LeftFirst(image_members, images, image_members.c.image_id == images.c.id)
    return Condition(
        literal(status.value) == answer.scalar_subquery(),
        ids=select(image_members.c.image_id).where(*mine),
        bare=and_(*mine),
        aged=True,
        rows=select(*(column.label(name) for name, column in columns.items())).select_from(joined),
        columns=columns,
    )


def condition_of(asked: Filter) -> Condition:
    """A filter."""
    match asked:
        case OneOf(attribute, (value,)):
            return equals(attribute, value)
        case OneOf(attribute, values):
            return Condition(
                unindexed(images.c[attribute]).in_(values),
                ids=select(_FEW.c.id).where(_FEW.c[attribute].in_(values)),
            )
        case Between():
            return _between(asked)
        case PropertyIs(name, value):
            its = image_properties.c
            found = select(its.value).where(its.image_id == images.c.id, its.name == name).scalar_subquery()
            return Condition(
                literal(value) == found, ids=select(its.image_id).where(its.name == name, its.value == value)
            )
        case HasTag(tag):
            its = image_tags.c
            found = select(its.tag).where(its.image_id == images.c.id, its.tag == tag).scalar_subquery()
            return Condition(literal(tag) == found, ids=select(its.image_id).where(its.tag == tag))


def _between(asked: Between) -> Condition:
    name = asked.attribute
    if asked.outside:
        # All but a second's images.
        return Condition(not_(_inside(unindexed(images.c[name]), asked)))
    return Condition(
        _inside(unindexed(images.c[name]), asked),
        ids=select(_FEW.c.id).where(_inside(_FEW.c[name], asked)),
        bare=_inside(images.c[name], asked),
        column=name,
    )


def _inside(column: ColumnElement[Any], asked: Between) -> ColumnElement[bool]:
    bounds: list[ColumnElement[bool]] = []
    if asked.low is not None:
        bounds.append(column >= _bound(asked.low))
    if asked.high is not None:
        bounds.append(column <= _bound(asked.high))
    return and_(true(), *bounds)


def _bound(value: int | datetime) -> int:
    return to_us(value) if isinstance(value, datetime) else value


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
