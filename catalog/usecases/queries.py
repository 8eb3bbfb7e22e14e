"""From a listing's parameters, as they stand in a URL, to a typed ImageQuery: the rules of filters, order and pages.

| parameter | meaning |
|---|---|
| `limit`, `marker` | page size (0 to the most allowed, which caps it) and the last id of the page before |
| `sort=name:asc,size` or `sort_key`, `sort_dir` (repeated) | order; ties fall to `created_at`, then `id` |
| `visibility` | one visibility, or `all` |
| `member_status` | of what is shared with the caller's project: what it said to it, by default `accepted`, or `all` |
| `os_hidden`, `protected` | `true` or `false` |
| `tag` (repeated) | all of them |
| `name`, `id`, `parent_image_ref`, `status`, `container_format`, `disk_format` | equality, or `in:a,"b,c"` |
| `created_at`, `updated_at` | a time, or `gt: gte: eq: neq: lt: lte:` and a time |
| `size`, `virtual_size`, `min_disk`, `min_ram`; with `_min`, `_max` | integers |
| `owner`, `checksum`, `os_hash_algo`, `os_hash_value` | equality |
| anything else | an extra property with this value |
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from catalog.limits import Limits, can_be_stored
from catalog.model.errors import Invalid
from catalog.model.image import Visibility, canonical_id
from catalog.model.member import MemberStatus
from catalog.model.query import SORT_KEYS, Between, HasTag, ImageQuery, OneOf, PropertyIs, Sort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from catalog.model.query import Filter

_DEFAULT_LIMITS: Final = Limits()
_NUMBERS: Final = ("size", "virtual_size", "min_disk", "min_ram")
_LARGEST: Final = 2**63 - 1
_PAGING: Final = frozenset({"limit", "marker", "sort", "sort_key", "sort_dir"})
_SECOND: Final = timedelta(seconds=1)
_TICK: Final = timedelta(microseconds=1)


def parse_query(pairs: Sequence[tuple[str, str]], limits: Limits = _DEFAULT_LIMITS) -> ImageQuery:
    """Read the parameters of a listing, in their order. Raises Invalid, naming the parameter or their number."""
    limits.check_parameters(len(pairs))
    for name, value in pairs:
        if not (can_be_stored(name) and can_be_stored(value)):
            raise Invalid(f"The parameter {name[:80]!a} holds a NUL or half of a surrogate pair; remove it.")
    # Where one value can count only, the last one does.
    last = dict(pairs)
    return ImageQuery(
        # Said twice is said once: each filter costs the database a look.
        filters=tuple(dict.fromkeys(_filter(name, value) for name, value in pairs if name not in _NOT_FILTERS)),
        visibility=_visibility(last.get("visibility")),
        every_visibility=last.get("visibility") == "all",
        answers=_answers(last.get("member_status", "accepted")),
        os_hidden=_truth("os_hidden", last.get("os_hidden", "false").lower()),
        sort=_sort(pairs),
        marker=last.get("marker"),
        limit=_limit(last.get("limit"), limits),
        page_bytes=limits.page_bytes,
    )


_NOT_FILTERS: Final = _PAGING | {"visibility", "member_status", "os_hidden"}


def _filter(name: str, value: str) -> Filter:
    reader = _FILTERS.get(name)
    return PropertyIs(name, value) if reader is None else reader(name, value)


def _equals(name: str, value: str) -> Filter:
    return OneOf(name, (value,))


def _one_of(name: str, value: str) -> Filter:
    return OneOf(name, _choices(name, value))


def _id(name: str, value: str) -> Filter:
    return OneOf(name, tuple(canonical_id(each) for each in _choices(name, value)))


def _choices(name: str, value: str) -> tuple[str, ...]:
    operator, colon, rest = value.partition(":")
    if not colon or operator == "eq":
        return (rest if colon else value,)
    if operator != "in":
        raise Invalid(
            f"Unable to filter {name} by unknown operator {operator[:40]!r}; use in: or eq:, "
            f"and {name}=eq:… for a value with a colon in it."
        )
    return _listed(name, rest)


def _listed(name: str, text: str) -> tuple[str, ...]:
    try:
        [values] = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise Invalid(f'Invalid list in filter {name}; write in:a,b or in:a,"b,c" with closed quotes.') from None
    return tuple(values)


def _tag(_name: str, value: str) -> Filter:
    return HasTag(value)


def _flag(name: str, value: str) -> Filter:
    return OneOf(name, (_truth(name, value),))


def _number(name: str, value: str) -> Filter:
    return OneOf(name, (_integer(name, value),))


def _at_least(name: str, value: str) -> Filter:
    return Between(name.removesuffix("_min"), low=_integer(name, value))


def _at_most(name: str, value: str) -> Filter:
    return Between(name.removesuffix("_max"), high=_integer(name, value))


def _no_changes_since(name: str, _value: str) -> Filter:
    raise Invalid(f"The filter {name} is not known here; use updated_at=gte:TIME.")


def _time(name: str, value: str) -> Filter:
    """Compare as clients see times, in whole seconds: what is shown as equal is equal."""
    operator, moment = _split_time(name, value)
    whole = moment.replace(microsecond=0)
    try:
        after = whole + _SECOND
        up = whole if moment == whole else after
        match operator:
            case "gt":
                return Between(name, low=after)
            case "gte":
                return Between(name, low=up)
            case "lt":
                return Between(name, high=up - _TICK)
            case "lte":
                return Between(name, high=after - _TICK)
            case _:
                # A time within a second equals none that is shown: the empty range.
                high = after - _TICK if moment == whole else whole - _TICK
                return Between(name, low=whole, high=high, outside=operator == "neq")
    except OverflowError:
        raise Invalid(f"The time in filter {name} lies beyond the calendar.") from None


def _split_time(name: str, value: str) -> tuple[str, datetime]:
    # A bare time has colons too.
    bare = _moment(value)
    if bare is not None:
        return "eq", bare
    operator, _, rest = value.partition(":")
    if operator not in {"gt", "gte", "eq", "neq", "lt", "lte"}:
        raise Invalid(f"Unable to filter {name} by {value[:80]!r}; use one of gt: gte: eq: neq: lt: lte: and a time.")
    moment = _moment(rest)
    if moment is None:
        raise Invalid(f"Invalid time {rest[:80]!r} in filter {name}; write it as 2026-11-22T17:47:08Z.")
    return operator, moment


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _visibility(value: str | None) -> Visibility | None:
    if value is None or value == "all":
        return None
    try:
        return Visibility(value)
    except ValueError:
        raise Invalid(
            f"Invalid visibility {value[:40]!r}; it is all or one of {', '.join(sorted(Visibility))}."
        ) from None


def _answers(value: str) -> frozenset[MemberStatus]:
    if value == "all":
        return frozenset(MemberStatus)
    try:
        return frozenset({MemberStatus(value)})
    except ValueError:
        raise Invalid(
            f"Invalid member_status {value[:40]!r}; it is all or one of {', '.join(sorted(MemberStatus))}."
        ) from None


def _truth(name: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise Invalid(f"Invalid value {value[:40]!r} for {name}; it is true or false.")
    return value == "true"


def _integer(name: str, value: str) -> int:
    try:
        # Long digit strings are refused before they are converted; isascii keeps other alphabets' digits out.
        number = int(value) if value.isascii() and len(value) <= 20 else None
    except ValueError:
        number = None
    if number is None or not -_LARGEST <= number <= _LARGEST:
        raise Invalid(f"Invalid value {value[:40]!r} for {name}; it is an integer.")
    return number


def _limit(value: str | None, limits: Limits) -> int:
    if value is None:
        return limits.page_default
    number = _integer("limit", value)
    if number < 0:
        raise Invalid("limit must not be negative.")
    return min(number, limits.page_max)


def _sort(pairs: Sequence[tuple[str, str]]) -> tuple[Sort, ...]:
    """The order asked for, completed by created_at and id in the direction of its last key, so that it is total."""
    asked = [value for name, value in pairs if name == "sort"]
    keys = [value for name, value in pairs if name == "sort_key"]
    directions = [value for name, value in pairs if name == "sort_dir"]
    if asked and (keys or directions):
        raise Invalid("Use either sort, or sort_key with sort_dir, not both.")
    if asked:
        chosen = [_sorted_by(*_split_sort(part)) for value in asked for part in value.split(",")]
    else:
        chosen = _paired(keys or ["created_at"], directions)
    ties = [Sort(key, descending=chosen[-1].descending) for key in ("created_at", "id")]
    order: dict[str, Sort] = {}
    for sort in (*chosen, *ties):
        order.setdefault(sort.key, sort)
    return tuple(order.values())


def _split_sort(part: str) -> tuple[str, str]:
    key, colon, direction = part.strip().partition(":")
    return key, direction if colon else "desc"


def _paired(keys: list[str], directions: list[str]) -> list[Sort]:
    if len(directions) <= 1:
        directions = (directions or ["desc"]) * len(keys)
    if len(directions) != len(keys):
        raise Invalid("Give one sort_dir for all keys, or one for each sort_key.")
    return [_sorted_by(key, direction) for key, direction in zip(keys, directions, strict=True)]


def _sorted_by(key: str, direction: str) -> Sort:
    if key not in SORT_KEYS:
        raise Invalid(f"Invalid sort key {key[:40]!r}; it is one of {', '.join(sorted(SORT_KEYS))}.")
    if direction not in {"asc", "desc"}:
        raise Invalid(f"Invalid sort direction {direction[:40]!r}; it is asc or desc.")
    return Sort(key, descending=direction == "desc")


def _readers(names: Iterable[str], reader: Callable[[str, str], Filter]) -> dict[str, Callable[[str, str], Filter]]:
    return dict.fromkeys(names, reader)


_FILTERS: Final[Mapping[str, Callable[[str, str], Filter]]] = {
    **_readers(("owner", "checksum", "os_hash_algo", "os_hash_value"), _equals),
    **_readers(("name", "status", "container_format", "disk_format"), _one_of),
    **_readers(("created_at", "updated_at"), _time),
    **_readers(_NUMBERS, _number),
    **_readers((f"{name}_min" for name in _NUMBERS), _at_least),
    **_readers((f"{name}_max" for name in _NUMBERS), _at_most),
    "id": _id,
    "parent_image_ref": _id,
    "tag": _tag,
    "protected": _flag,
    "changes-since": _no_changes_since,
}
