"""Which images a page of a list has, by one statement that reads about as many as it tells: no OFFSET, no scan.

A caller who sees a part asks for several disjoint parts (the own images, others' public ones, those that are shared
with the caller), which the database merges in order. In each part one of these leads to the images, and every other
condition looks at what it finds:

- a condition that holds for few images: its index finds them, and they are sorted;
- in order of age, a condition whose index has that order: images are read off it until the page is full;
- the index of the order that was asked for, likewise, and by one walk for all parts that it is worth it for.

What is few is found by counting, in one statement, so far as it is few: the longer the page, the more. So neither a
filter that holds for no image nor one that holds for all makes a page walk far. The next page begins behind the last
image of the one before, by its values: so the hundredth page costs what the first does, and images that come and go
meanwhile neither repeat nor hide others.

What this cannot spare is a long walk where each condition holds for many images and all together for few. Then as many
images are looked at as the rarest of those conditions with an index in order has, or all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import and_, asc, desc, false, func, or_, select, union_all

from catalog.model.image import Visibility
from catalog.model.query import OneOf, narrowed
from catalog.sql.conditions import OF_IMAGES, Condition, condition_of, equals, is_not_of, shared_with
from catalog.sql.image_rows import image_row
from catalog.sql.markers import is_behind, spans_behind
from catalog.sql.tables import images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Column, CompoundSelect, FromClause, Select, UnaryExpression

    from catalog.model.image import Image
    from catalog.model.query import ImageQuery, Scope

    Ids: TypeAlias = Select[*tuple[Any, ...]]
    Statement: TypeAlias = Ids | CompoundSelect[*tuple[Any, ...]]

# So many images are few for a page of so many: to find and sort them takes as long as it takes, among a hundred
# thousand, to walk along an order until a condition that holds for more of them has filled the page.
_FEW_AT_LEAST, _FEW_FOR_EACH = 1000, 10
_AGE: Final = ("created_at", "id")


class PageQuestion:
    """One page's question to the database: how many images conditions hold for, if that matters, then which are its."""

    def __init__(self, scope: Scope, query: ImageQuery, after: Image | None) -> None:
        """`query.limit` is not 0; `after` is the last image of the page before."""
        self._query = query
        self._behind = None if after is None else image_row(after)
        self._few = _FEW_AT_LEAST + _FEW_FOR_EACH * query.limit
        asked = [equals("os_hidden", query.os_hidden, counted=query.os_hidden)]
        asked += [condition_of(each) for each in narrowed(query.filters)]
        if query.visibility is not None:
            asked.append(equals("visibility", query.visibility.value))
        self._asked = tuple(asked)
        self._parts = [(*part, *asked) for part in _parts(scope, query)]
        self._counted = list(dict.fromkeys(each for part in self._parts for each in part if each.lead is not None))

    @property
    def counts(self) -> Select[*tuple[Any, ...]] | None:
        """A row with how many images each condition holds for that could lead; None if there is nothing to choose."""
        if not self._counted or (self._by_age and all(map(_has_no_choice, self._parts))):
            return None
        return select(*(each.lead.counted(self._few + 1) for each in self._counted if each.lead is not None))

    def ids(self, counts: Sequence[int]) -> Select[str]:
        """The ids of the page and of one image more, if there is one; `counts` is the row of the question before.

        As one row of JSON: at each row Python gives up the interpreter, and waits for it where something is uploaded.
        Beside them the keys of the order alone: what is sorted and merged stays small.
        """
        known = dict(zip(self._counted, counts, strict=False))
        none = self._keys(images, OF_IMAGES).where(false())
        parts = list(self._found(lambda each: known.get(each, self._few + 1))) or [none]
        whole: Statement = parts[0] if len(parts) == 1 else union_all(*parts)
        order: list[UnaryExpression[Any]] = [
            desc(sort.key) if sort.descending else asc(sort.key) for sort in self._query.sort
        ]
        page = whole.order_by(*order).limit(self._query.limit + 1).subquery("page")
        return select(func.json_group_array(page.c.id))

    @property
    def _by_age(self) -> bool:
        first, second = self._query.sort[0], self._query.sort[-1]
        return tuple(sort.key for sort in self._query.sort) == _AGE and first.descending == second.descending

    def _found(self, count: Callable[[Condition], int]) -> Iterator[Ids]:
        walked: list[tuple[Condition, ...]] = []
        led: list[tuple[Condition, tuple[Condition, ...]]] = []
        for part in self._parts:
            few = min((each for each in part if count(each) <= self._few), key=count, default=None)
            if self._by_age and (few is None or few.aged):
                # What is counted goes first: what is not holds for nearly all.
                aged = sorted((each for each in part if each.aged), key=lambda each: (count(each), each.lead is None))
                yield from self._in_order(part, aged[0], "created_at")
            elif few is None:
                walked.append(part)
            else:
                led.append((few, part))
        if walked:
            # Who walks for one part passes the others' images, too.
            walked += [part for few, part in led if count(few) > self._query.limit]
            led = [(few, part) for few, part in led if count(few) <= self._query.limit]
            yield from self._in_order((*self._asked, *self._any_of(walked)), None, self._query.sort[0].key)
        for few, part in led:
            yield self._led(few, part)

    def _any_of(self, parts: Sequence[tuple[Condition, ...]]) -> Iterator[Condition]:
        """That an image is of one of these parts."""
        of_each = [[each.look for each in part if each not in self._asked] for part in parts]
        if all(of_each):
            yield Condition(or_(*(and_(*looks) for looks in of_each)))

    def _led(self, few: Condition, part: tuple[Condition, ...]) -> Ids:
        assert few.lead is not None, "only these are counted"
        looked = [each.look for each in part if each is not few]
        if self._behind is not None:
            looked.append(is_behind(self._behind, self._query.sort))
        return self._keys(few.lead.images, OF_IMAGES).where(few.lead.where, *looked)

    def _in_order(self, conditions: tuple[Condition, ...], lead: Condition | None, key: str) -> Iterator[Ids]:
        """Read off an index in order: after the lead's value that of `key`, whose bounds it can use, too."""
        used = {key} if lead is None else {key, *_PAIRED.get(lead.column or "", ())}
        walk, columns = (images, OF_IMAGES) if lead is None else (lead.walk, lead.columns)
        ids = self._keys(walk, columns).where(
            *(
                each.bare(columns) if each.bare is not None and (each is lead or each.column in used) else each.look
                for each in conditions
            )
        )
        if self._behind is None:
            yield ids
        else:
            for beyond in spans_behind(self._behind, self._query.sort, columns):
                yield ids.where(beyond)

    def _keys(self, found: FromClause, columns: Mapping[str, Column[Any]]) -> Ids:
        names = dict.fromkeys(("id", *(sort.key for sort in self._query.sort)))
        return select(*(columns[name].label(name) for name in names)).select_from(found)


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
    counted = [each for each in part if each.lead is not None]
    return not counted or (len(counted) == 1 and counted[0].aged)
