"""Conditions on images, each in the forms that a page's statement can use: to find its images, or to look at others'.

SQLite knows nothing of how many images a condition holds for, and would take any index that fits. So it is left no
choice: one condition, or the order, leads to the images by its index, and the others are put so that no index fits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import Integer, UnaryExpression, and_, column, func, literal, literal_column, not_, select, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.operators import custom_op
from sqlalchemy.sql.selectable import Join

from catalog.model.query import Between, HasTag, OneOf, PropertyIs
from catalog.sql.tables import image_members, image_properties, image_tags, images
from catalog.sql.times import to_us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Column, ColumnElement, FromClause, ScalarSelect, Select, Table
    from sqlalchemy.sql.compiler import SQLCompiler

    from catalog.model.member import MemberStatus
    from catalog.model.query import Filter

    Columns: TypeAlias = Mapping[str, Column[Any]]

# As another table, so that a look at it stands on its own within a statement on images.
_FEW: Final = images.alias("few")
_PLUS: Final = custom_op[Any]("+")
# Each takes a quarter of a millisecond to make, and whoever lists comes again with the same project.
_REMEMBERED: Final = 256
OF_IMAGES: Final[Columns] = {column.name: column for column in images.c}


def _row_number(table: FromClause) -> ColumnElement[int]:
    """SQLite's own, which every index has: so it leads to the row at once, where the id has to be looked up first."""
    number = column("rowid", Integer)
    number.table = table
    return number


_SAME_ROW: Final = _row_number(_FEW) == _row_number(images)


@dataclass(frozen=True, slots=True)
class Lead:
    """What leads to a condition's images: rows of `table`, found by its index, and the image `of` each."""

    table: FromClause
    where: ColumnElement[bool]
    of: ColumnElement[bool]

    @property
    def images(self) -> FromClause:
        """The rows and their images, which are looked up in the order in which the index has the rows."""
        return LeftFirst(self.table, images, self.of)

    def counted(self, most: int) -> ScalarSelect[int]:
        """How many there are, `most` if there are more."""
        found: Select[int] = select(literal_column("1", Integer)).select_from(self.table).where(self.where).limit(most)
        return select(func.count()).select_from(found.subquery()).scalar_subquery()


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One condition on an image.

    `look` holds for an image that was found otherwise. `lead` finds its images by an index, None if that is not worth
    it. `bare` is the condition on such columns as an index of `column` can use it. `aged`: its index has its images in
    order of age; `walk` are its images by that index, and `columns` are those that are in order.
    """

    look: ColumnElement[bool]
    lead: Lead | None = None
    bare: Callable[[Columns], ColumnElement[bool]] | None = None
    column: str | None = None
    aged: bool = False
    walk: FromClause = images
    columns: Columns = field(default_factory=lambda: OF_IMAGES)


def unindexed(column: Column[Any]) -> ColumnElement[Any]:
    """The column's value, in a form that no index fits."""
    return UnaryExpression(column, operator=_PLUS, type_=column.type)


@lru_cache(_REMEMBERED, typed=True)
def equals(name: str, value: object, *, counted: bool = True) -> Condition:
    """A column has this value; not `counted`, where nearly all images have it."""
    return Condition(
        unindexed(images.c[name]) == value,
        lead=_by_column(_FEW.c[name] == value) if counted else None,
        bare=lambda columns: columns[name] == value,
        column=name,
        aged=name != "id",
    )


@lru_cache(_REMEMBERED)
def is_not_of(project: str) -> Condition:
    """The images of others: no index leads to them."""
    return Condition(unindexed(images.c.owner).is_distinct_from(project))


@lru_cache(_REMEMBERED)
def shared_with(project: str, status: MemberStatus) -> Condition:
    """The project is a member, and this is what it said; its index of memberships has the order of age."""
    its = image_members.c
    answer = select(its.status).where(its.image_id == images.c.id, its.member == project).correlate(images)
    lead = Lead(image_members, and_(its.member == project, its.status == status.value), its.image_id == images.c.id)
    return Condition(
        literal(status.value) == answer.scalar_subquery(),
        lead=lead,
        bare=lambda _columns: lead.where,
        aged=True,
        walk=lead.images,
        columns={**OF_IMAGES, "id": its.image_id, "created_at": its.image_created_at},
    )


def condition_of(asked: Filter) -> Condition:
    """A filter."""
    match asked:
        case OneOf(attribute, (value,)):
            return equals(attribute, value)
        case OneOf(attribute, values):
            return Condition(
                unindexed(images.c[attribute]).in_(values),
                lead=_by_column(_FEW.c[attribute].in_(values)),
            )
        case Between():
            return _between(asked)
        case PropertyIs(name, value):
            its = image_properties.c
            return Condition(
                _has(image_properties, "ix_image_properties_name_value", its.name == name, its.value == value),
                lead=Lead(image_properties, and_(its.name == name, its.value == value), its.image_id == images.c.id),
            )
        case HasTag(tag):
            its = image_tags.c
            return Condition(
                _has(image_tags, "ix_image_tags_tag", its.tag == tag),
                lead=Lead(image_tags, its.tag == tag, its.image_id == images.c.id),
            )


def _has(table: Table, index: str, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether an image that was found otherwise has such a row.

    By the index of values: what one list asks for stands close together there, and far apart among images' own rows.
    """
    found: Select[int] = select(literal_column("1", Integer)).select_from(table).with_hint(table, f"INDEXED BY {index}")
    return found.where(*conditions, table.c.image_id == images.c.id).correlate(images).exists()


def _by_column(where: ColumnElement[bool]) -> Lead:
    return Lead(_FEW, where, _SAME_ROW)


def _between(asked: Between) -> Condition:
    name = asked.attribute
    if asked.outside:
        # All but a second's images.
        return Condition(not_(_inside(unindexed(images.c[name]), asked)))
    return Condition(
        _inside(unindexed(images.c[name]), asked),
        lead=_by_column(_inside(_FEW.c[name], asked)),
        bare=lambda columns: _inside(columns[name], asked),
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


class LeftFirst(Join):
    """A join in which SQLite goes from the left table to the right one.

    It would else walk over all images, where one of their indexes has the order that was asked for.
    """

    inherit_cache = True


@compiles(LeftFirst, "sqlite")
def _left_first(join: LeftFirst, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the compiler's own
    assert join.onclause is not None, "it is made with one"
    left, right = (compiler.process(table, **options | {"asfrom": True}) for table in (join.left, join.right))
    return f"{left} CROSS JOIN {right} ON {compiler.process(join.onclause, **options | {'asfrom': False})}"
