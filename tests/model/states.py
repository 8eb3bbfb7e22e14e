"""States as numbers: each part is numbered, and a state is one integer of 64 bits that has a field for each part.

So a layer of states is one array. What an actor may do depends on the fields that it sees; done, it adds the same
difference to every state that has these. Steps are worked out once for each such combination, whoever else is where.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from tests.model.explore import Parts

    Array: TypeAlias = NDArray[np.uint64]

WORD: Final = 64
FULL: Final = (1 << WORD) - 1
SHARED: Final = 22
"""Bits for what all share, the part at position 0, of which there are most; actors have the rest between them."""


class Fields:
    """The numbers of parts, and where they stand in a state."""

    def __init__(self, start: Parts, alike: Sequence[tuple[int, int]]) -> None:
        positions = len(start)
        width = (WORD - SHARED) // (positions - 1)
        self._shifts = (0, *range(SHARED, WORD - width + 1, width))[:positions]
        self._ones = ((1 << SHARED) - 1, *((1 << width) - 1 for _ in range(1, positions)))
        # Parts of one type have their numbers in common, wherever they stand.
        parts: dict[type, list[Any]] = {type(part): [] for part in start}
        known: dict[type, dict[Any, int]] = {of: {} for of in parts}
        self._parts = [parts[type(part)] for part in start]
        self._known = [known[type(part)] for part in start]
        self._alike = [(np.uint64(self._shifts[one]), np.uint64(self._shifts[other])) for one, other in alike]
        self._one = np.uint64(self._ones[-1])

    def mask(self, sees: Iterable[int]) -> np.uint64:
        return np.uint64(sum(self._ones[at] << self._shifts[at] for at in sees))

    def pack(self, parts: Parts, sees: Sequence[int]) -> int:
        """The parts in their fields; AssertionError if there are more than these can tell apart."""
        return self.join(self.numbers(parts, sees), sees)

    def numbers(self, parts: Parts, sees: Sequence[int]) -> tuple[int, ...]:
        return tuple(map(self._number, sees, parts))

    def _number(self, at: int, part: Any) -> int:
        parts = self._parts[at]
        number = self._known[at].setdefault(part, len(parts))
        if number == len(parts):
            parts.append(part)
            assert number <= self._ones[at], f"more than {number} parts of one kind: the model is too large"
        return number

    def join(self, numbers: Iterable[int], sees: Sequence[int]) -> int:
        return sum(number << self._shifts[at] for at, number in zip(sees, numbers, strict=True))

    def split(self, state: int, sees: Sequence[int]) -> tuple[int, ...]:
        return tuple([state >> self._shifts[at] & self._ones[at] for at in sees])

    def unpack(self, state: int, sees: Sequence[int]) -> list[Any]:
        return [self._parts[at][state >> self._shifts[at] & self._ones[at]] for at in sees]

    def settled(self, states: Array) -> Array:
        """Of all states that are alike, the same one: the lower number first. Changes the array."""
        for one, other in self._alike:
            more = (states >> one & self._one) - (states >> other & self._one)
            more[more > self._one] = 0
            states += (more << other) - (more << one)
        return states


class Mover:
    """An actor in numbers. `known` is shared by all with the same steps: which parts these lead to."""

    def __init__(
        self,
        fields: Fields,
        sees: tuple[int, ...],
        steps: Callable[..., Iterable[tuple[str, Parts]]],
        known: dict[tuple[int, ...], list[tuple[int, ...]]],
    ) -> None:
        self.sees = sees
        self.mask = fields.mask(sees)
        self._fields = fields
        self._steps = steps
        self._known = known
        self._differences: dict[int, tuple[int, ...]] = {}

    def differences(self, key: int) -> tuple[int, ...]:
        """What its steps add to a state, of which `key` has the fields that it sees."""
        found = self._differences.get(key)
        return self._work_out(key) if found is None else found

    def _work_out(self, key: int) -> tuple[int, ...]:
        fields, sees = self._fields, self.sees
        numbers = fields.split(key, sees)
        after = self._known.get(numbers)
        if after is None:
            steps = self._steps(*fields.unpack(key, sees))
            after = self._known[numbers] = list(dict.fromkeys(fields.numbers(parts, sees) for _, parts in steps))
        found = self._differences[key] = tuple([fields.join(each, sees) - key & FULL for each in after])
        return found

    def reached(self, state: int) -> Iterator[int]:
        for difference in self.differences(state & int(self.mask)):
            yield state + difference & FULL

    def in_words(self, state: int) -> Iterator[tuple[str, int]]:
        key = state & int(self.mask)
        for words, after in self._steps(*self._fields.unpack(key, self.sees)):
            yield words, state - key + self._fields.pack(after, self.sees)

    def after(self, layer: Array) -> tuple[Array, NDArray[np.intp]]:
        """All states that its steps lead to from those in `layer`; and from which of them, by their places there."""
        keys, which = np.unique(layer & self.mask, return_inverse=True)
        known = self._differences
        steps = [known[key] if key in known else self._work_out(key) for key in keys.tolist()]
        counts = np.fromiter(map(len, steps), np.intp, len(steps))
        flat = np.fromiter(chain.from_iterable(steps), np.uint64)
        of_each = counts[which]
        # The n-th step of a state is the n-th of its key.
        begins = (np.cumsum(counts) - counts)[which] - (np.cumsum(of_each) - of_each)
        origins = np.repeat(np.arange(len(layer)), of_each)
        return layer[origins] + flat[begins[origins] + np.arange(len(origins))], origins


class Seen:
    """States that were reached: sorted arrays, few, as equal ones are joined."""

    def __init__(self) -> None:
        self.count = 0
        self._runs: list[Array] = []

    def new(self, states: Array) -> Array:
        """Those that were not there yet, each once; they are from now on."""
        states = np.unique(states)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, states), len(run) - 1)
            states = states[run[at] != states]
        self.count += len(states)
        joined = states
        while self._runs and len(self._runs[-1]) <= 2 * len(joined):
            joined = np.concatenate((self._runs.pop(), joined))
        if len(joined):
            self._runs.append(np.sort(joined))
        return states
