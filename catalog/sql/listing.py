"""A listing's page as one statement that reads about as many images as it tells: no OFFSET, no scan of the table.

A caller who sees a part asks for several disjoint parts (the own images, others' public ones, those that are shared
with the caller), which the database merges in order. In each part one of these leads to the images, and every other
condition looks at what it finds:

- a condition that holds for few images: its index finds them, and they are sorted;
- in order of age, a condition whose index has that order: images are read off it until the page is full;
- the index of the order that was asked for, likewise.

What is few is found by counting, in one statement, so far as it is few: the longer the page, the more. So neither a
filter that holds for no image nor one that holds for all makes a page walk far. The next page begins behind the last
image of the one before, by its values: so the hundredth page costs what the first does, and images that come and go
meanwhile neither repeat nor hide others.

What this cannot spare is a long walk where each condition holds for many images and all together for few. Then as many
images are looked at as the rarest of those conditions with an index in order has, or all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import asc, desc, false, func, select, union_all

from catalog.model.image import Visibility
from catalog.model.query import OneOf
from catalog.sql.conditions import OF_IMAGES, Condition, condition_of, equals, is_not_of, shared_with
from catalog.sql.image_rows import image_row
from catalog.sql.markers import is_behind, spans_behind
from catalog.sql.tables import images

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import CompoundSelect, Select, UnaryExpression

    from catalog.model.image import Image
    from catalog.model.query import ImageQuery, Scope

    Rows: TypeAlias = Select[*tuple[Any, ...]]
    Statement: TypeAlias = Rows | CompoundSelect[*tuple[Any, ...]]

# So many images are few for a page of so many: to find and sort them takes as long as it takes, among a hundred
# thousand, to walk along an order until a condition that holds for more of them has filled the page.
_FEW_AT_LEAST, _FEW_FOR_EACH = 1000, 10
_AGE: Final = ("created_at", "id")


class PageQuestion:
    """One page's question to the database: how many images conditions hold for, if that matters, then its rows."""

    def __init__(self, scope: Scope, query: ImageQuery, after: Image | None) -> None:
        """`query.limit` is not 0; `after` is the last image of the page before."""
        self._query = query
        self._behind = None if after is None else image_row(after)
        self._few = _FEW_AT_LEAST + _FEW_FOR_EACH * query.limit
        asked = [equals("os_hidden", query.os_hidden, counted=query.os_hidden)]
        asked += [condition_of(each) for each in query.filters]
        if query.visibility is not None:
            asked.append(equals("visibility", query.visibility.value))
        self._parts = [(*part, *asked) for part in _parts(scope, query)]
        self._counted = list(dict.fromkeys(each for part in self._parts for each in part if each.ids is not None))

    @property
    def counts(self) -> Select[*tuple[Any, ...]] | None:
        """A row with how many images each condition holds for that could lead; None if there is nothing to choose."""
        if not self._counted or (self._by_age and all(map(_has_no_choice, self._parts))):
            return None
        limited = [each.ids.limit(self._few + 1).subquery() for each in self._counted if each.ids is not None]
        return select(*(select(func.count()).select_from(each).scalar_subquery() for each in limited))

    def rows(self, counts: Sequence[int]) -> Statement:
        """The rows of the page and of one image more, if there is one; `counts` is the row of the question before."""
        known = dict(zip(self._counted, counts, strict=False))
        parts = [rows for part in self._parts for rows in self._part(part, known)] or [select(images).where(false())]
        whole: Statement = parts[0] if len(parts) == 1 else union_all(*parts)
        order: list[UnaryExpression[Any]] = [
            desc(sort.key) if sort.descending else asc(sort.key) for sort in self._query.sort
        ]
        return whole.order_by(*order).limit(self._query.limit + 1)

    @property
    def _by_age(self) -> bool:
        first, second = self._query.sort[0], self._query.sort[-1]
        return tuple(sort.key for sort in self._query.sort) == _AGE and first.descending == second.descending

    def _part(self, part: tuple[Condition, ...], counts: Mapping[Condition, int]) -> Iterator[Rows]:
        def count(each: Condition) -> int:
            return counts.get(each, self._few + 1)

        few = min((each for each in part if count(each) <= self._few), key=count, default=None)
        if self._by_age and (few is None or few.aged):
            # What is counted goes first: what is not holds for nearly all.
            aged = sorted((each for each in part if each.aged), key=lambda each: (count(each), each.ids is None))
            yield from self._in_order(part, aged[0], "created_at")
        elif few is None:
            yield from self._in_order(part, None, self._query.sort[0].key)
        else:
            assert few.ids is not None, "only these are counted"
            looked = [each.look for each in part if each is not few]
            if self._behind is not None:
                looked.append(is_behind(self._behind, self._query.sort))
            yield select(images).where(images.c.id.in_(few.ids), *looked)

    def _in_order(self, part: tuple[Condition, ...], lead: Condition | None, key: str) -> Iterator[Rows]:
        """Read off an index in order: after the lead's value that of `key`, whose bounds it can use, too."""
        used = {key} if lead is None else {key, *_PAIRED.get(lead.column or "", ())}
        conditions = [
            each.bare if each.bare is not None and (each is lead or each.column in used) else each.look for each in part
        ]
        rows, columns = (select(images), OF_IMAGES) if lead is None else (lead.rows, lead.columns)
        if self._behind is None:
            yield rows.where(*conditions)
        else:
            for beyond in spans_behind(self._behind, self._query.sort, columns):
                yield rows.where(*conditions, beyond)


# Columns that have an index together with the first one's.
_PAIRED: Final = {"owner": ("name", "status", "visibility"), "visibility": ("name", "status", "owner")}


def _parts(scope: Scope, query: ImageQuery) -> Iterator[tuple[Condition, ...]]:
    """What holds for the images of each part; a part of other owners than those that are asked for is left out."""
    if scope.everything:
        yield ()
        return
    owners = [set(each.values) for each in query.filters if isinstance(each, OneOf) and each.attribute == "owner"]
    if all(scope.project in each for each in owners):
        yield (equals("owner", scope.project),)
    if any(each == {scope.project} for each in owners):
        return
    others = is_not_of(scope.project)
    for visibility in sorted(scope.others):
        yield equals("visibility", visibility.value), others
    for status in sorted(scope.answers):
        yield shared_with(scope.project, status), equals("visibility", Visibility.SHARED.value, counted=False), others


def _has_no_choice(part: tuple[Condition, ...]) -> bool:
    """Whether in order of age nothing could lead but one condition that has that order."""
    counted = [each for each in part if each.ids is not None]
    return not counted or (len(counted) == 1 and counted[0].aged)
