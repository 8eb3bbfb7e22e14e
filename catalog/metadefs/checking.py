"""Holds what was said against its shape: what of JSON Schema the shapes use, and a sentence for what is wrong."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from catalog.limits import can_be_stored
from catalog.model.errors import Invalid, LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from catalog.metadefs.shapes import Shape

DEEPEST: Final = 20
"""So deep may what is said be nested: a property's default can be anything."""
MOST_VALUES: Final = 20_000
"""So many values may be said at once, however deep: a definition has some ten, and each is looked at several times."""


def check(said: object, shape: Shape, at: str) -> None:
    """Raise Invalid, naming the place below `at`, where something is not as the shape has it; LimitExceeded first."""
    _check_number(said, at)
    _check_values(said, at, 0)
    _Checking(shape.get("definitions", {})).check(said, {"type": "object", **shape}, at)


class _Checking:
    """One document against one shape, whose definitions others refer to."""

    def __init__(self, definitions: Mapping[str, Shape]) -> None:
        self._definitions = definitions

    def check(self, said: object, shape: Shape, at: str) -> None:
        if "$ref" in shape:
            shape = self._definitions[shape["$ref"].rpartition("/")[2]]
        for each in shape.get("allOf", ()):
            self.check(said, each, at)
        if "type" in shape and not _IS[shape["type"]](said):
            raise Invalid(f"{at} must be {_CALLED[shape['type']]}, which {_short(said)} is not.")
        if "enum" in shape and said not in shape["enum"]:
            words = ", ".join(json.dumps(word) for word in shape["enum"] if word is not None)
            raise Invalid(f"{at} is one of {words}, which {_short(said)} is not.")
        if isinstance(said, list):
            self._check_list(said, shape, at)
        elif isinstance(said, dict):
            self._check_object(said, shape, at)
        else:
            _check_bounds(said, shape, at)

    def _check_list(self, said: list[Any], shape: Shape, at: str) -> None:
        if len(said) < shape.get("minItems", 0):
            raise Invalid(f"{at} has {len(said)} items; {shape['minItems']} are the fewest.")
        for number, each in enumerate(said):
            self.check(each, shape.get("items", {}), f"{at}[{number}]")
        if shape.get("uniqueItems") and len({json.dumps(each, sort_keys=True) for each in said}) < len(said):
            raise Invalid(f"{at} has the same item twice.")

    def _check_object(self, said: dict[str, Any], shape: Shape, at: str) -> None:
        for name in shape.get("required", ()):
            if name not in said:
                raise Invalid(f"{at} has no {name!r}, which it needs.")
        named, others = shape.get("properties", {}), shape.get("additionalProperties")
        for name, each in said.items():
            if name not in named and named and not others:
                raise Invalid(f"{at} has no such thing as {name[:80]!r}; it has {_list(sorted(named))}.")
            self.check(each, named.get(name) or others or {}, f"{at}.{name[:80]}")


def _check_bounds(said: object, shape: Shape, at: str) -> None:
    if isinstance(said, str) and len(said) > shape.get("maxLength", len(said)):
        raise Invalid(f"{at} has {len(said)} characters; {shape['maxLength']} are the most.")
    if isinstance(said, int | float) and said < shape.get("minimum", said):
        raise Invalid(f"{at} is {said}; {shape['minimum']} is the least.")


def _check_number(said: object, at: str) -> None:
    number, left = 0, [said]
    while left:
        each = left.pop()
        number += 1
        if number > MOST_VALUES:
            raise LimitExceeded(f"{at} has more than {MOST_VALUES} values, the most at once; say it in parts.")
        if isinstance(each, list):
            left.extend(each)
        elif isinstance(each, dict):
            left.extend(each.values())


def _check_values(said: object, at: str, depth: int) -> None:
    if depth > DEEPEST:
        raise Invalid(f"{at[:200]} is nested more than {DEEPEST} deep.")
    if isinstance(said, str):
        if not can_be_stored(said):
            raise Invalid(f"{at[:200]} holds a NUL or half of a surrogate pair; remove it.")
    elif isinstance(said, float):
        if not math.isfinite(said):
            raise Invalid(f"{at[:200]} is a number that is too large.")
    elif isinstance(said, list):
        for each in said:
            _check_values(each, at, depth + 1)
    elif isinstance(said, dict):
        for name, each in said.items():
            _check_values(name, at, depth)
            _check_values(each, f"{at}.{name[:80]}", depth + 1)


def _is_number(said: object) -> bool:
    return isinstance(said, int | float) and not isinstance(said, bool)


_IS: Final[Mapping[str, Callable[[object], bool]]] = {
    "string": lambda said: isinstance(said, str),
    "boolean": lambda said: isinstance(said, bool),
    "integer": lambda said: _is_number(said) and said == int(said),  # type: ignore[call-overload]  # it is a number
    "number": _is_number,
    "array": lambda said: isinstance(said, list),
    "object": lambda said: isinstance(said, dict),
}
_CALLED: Final = {
    "string": "a text", "boolean": "true or false", "integer": "a whole number", "number": "a number",
    "array": "a list", "object": "an object",
}  # fmt: skip


def _short(said: object) -> str:
    text = json.dumps(said, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)
