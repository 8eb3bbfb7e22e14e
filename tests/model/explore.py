"""The explorer: every state that a protocol can reach, breadth first, so that the trace to a wrong one is a shortest.

A state is parts: what all share, and one part for each actor. An actor's steps depend on the parts that it sees and on
nothing else. So they are worked out once for each combination of those, in whatever readable way a model is written,
and done in all states that differ elsewhere: those of one distance from the start are one array (`states.py`).

Told how wide, an exploration goes as deep and not wider: of the states of one distance all that it comes to are judged,
and it goes on from some, which a seed chooses. What it finds broken is broken; what it finds safe is so where it was.

Actors of one kind whom nothing tells apart are interchangeable: of states that differ in who is who, one is explored.
This is sound because every step and every rule treats them alike: exchanged parts lead to exchanged runs.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np

from tests.model.states import Fields, Mover, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.model.states import Array

Parts: TypeAlias = tuple[Any, ...]
MOST: Final = 4_000_000
"""States of one model: beyond it, it is too large to be explored."""
SEED: Final = 1
"""Of what is chosen where not all is explored."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who moves: the name in traces, the positions of the parts that it sees and changes, and its steps.

    `steps` is given those parts and gives what may be done next: in words, and the same parts afterwards.
    """

    name: str
    sees: tuple[int, ...]
    steps: Callable[..., Iterable[tuple[str, Parts]]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What must always hold of the parts at some positions: `broken` says in words how it does not."""

    sees: tuple[int, ...]
    broken: Callable[..., str | None]


@dataclass(frozen=True, slots=True)
class Quiet:
    """Where every part is `still`, the `cleaners` (numbers of actors) can come to a state in which nothing is `left`.

    They alone. `sees` has every part that cleaners see. `holds` is asked about all of these together, if each is still.
    """

    sees: tuple[int, ...]
    still: Callable[[Any], bool]
    cleaners: tuple[int, ...]
    left: Callable[..., str | None]
    holds: Callable[..., bool] = lambda *_: True


class Model(Protocol):
    """A protocol to be explored."""

    @property
    def start(self) -> Parts:
        """The first state."""

    @property
    def actors(self) -> Sequence[Actor]:
        """Who moves."""

    @property
    def rules(self) -> Sequence[Rule]:
        """What must hold."""

    @property
    def quiet(self) -> Quiet | None:
        """What must be possible."""

    @property
    def alike(self) -> Sequence[tuple[int, int]]:
        """Pairs of positions whose parts may be exchanged."""


@dataclass(frozen=True, slots=True)
class Explored:
    """How many states were seen; if a rule was broken, how, and a shortest way to it: who does what."""

    states: int
    broken: str | None = None
    trace: tuple[str, ...] = ()


class _Judged:
    """What must hold, and the combinations of parts for which it was found to."""

    def __init__(self, fields: Fields, sees: tuple[int, ...], broken: Callable[[int], str | None]) -> None:
        self.mask = fields.mask(sees)
        self._broken = broken
        self._held: set[int] = set()

    def broken_in(self, layer: Array) -> tuple[int, str] | None:
        """A state that breaks it, and how."""
        keys = layer & self.mask
        for key in np.unique(keys).tolist():
            if key not in self._held:
                broken = self._broken(key)
                if broken is not None:
                    return int(layer[keys == key][0]), broken
                self._held.add(key)
        return None


class _Quiet(_Judged):
    """It is judged where all stand still, which is seldom."""

    def __init__(self, fields: Fields, quiet: Quiet, movers: Sequence[Mover]) -> None:
        super().__init__(fields, quiet.sees, self._never_empty)
        self._fields = fields
        self._quiet = quiet
        self._cleaners = [movers[number] for number in quiet.cleaners]
        self._emptied: set[int] = set()

    def broken_in(self, layer: Array) -> tuple[int, str] | None:
        # The shared part last: there are most of it.
        for at in reversed(self._quiet.sees):
            numbers, which = np.unique(layer & self._fields.mask((at,)), return_inverse=True)
            still = [self._quiet.still(*self._fields.unpack(number, (at,))) for number in numbers.tolist()]
            layer = layer[np.array(still, np.bool_)[which]]
        return super().broken_in(layer)

    def _never_empty(self, state: int) -> str | None:
        fields, quiet = self._fields, self._quiet
        if not quiet.holds(*fields.unpack(state, quiet.sees)):
            return None
        came: dict[int, int | None] = {state: None}
        todo = [state]
        left: str | None = None
        while todo:
            # Depth first: a collection goes straight to its end.
            at: int | None = todo.pop()
            assert at is not None
            found = quiet.left(*fields.unpack(at, quiet.sees))
            if found is None or at in self._emptied:
                while at is not None:
                    self._emptied.add(at)
                    at = came[at]
                return None
            left = found
            for mover in self._cleaners:
                for reached in mover.reached(at):
                    if reached not in came:
                        came[reached] = at
                        todo.append(reached)
        return f"all is quiet, nothing reaches a block, and however long one collects: {left}"


class _Exploration:
    def __init__(self, model: Model) -> None:
        self.fields = fields = Fields(model.start, model.alike)
        steps: dict[Callable[..., Any], dict[tuple[int, ...], list[tuple[int, ...]]]] = {}
        self.names = [actor.name for actor in model.actors]
        self.movers = [
            Mover(fields, actor.sees, actor.steps, steps.setdefault(actor.steps, {})) for actor in model.actors
        ]
        self.rules = [_Judged(fields, rule.sees, _in_parts(fields, rule)) for rule in model.rules]
        if model.quiet is not None:
            self.rules.append(_Quiet(fields, model.quiet, self.movers))
        self.start = fields.pack(model.start, range(len(model.start)))
        self.layers: list[Array] = []

    def run(self, most: int, widest: int | None) -> Explored:
        seen = Seen()
        rng = np.random.default_rng(SEED)
        layer = seen.new(self._settled(self.start))
        while len(layer):
            self.layers.append(layer)
            for rule in self.rules:
                found = rule.broken_in(layer)
                if found is not None:
                    last, broken = found
                    return Explored(seen.count, broken, tuple(self._trace(last)))
            if widest is not None and len(layer) > widest:
                layer = rng.choice(layer, widest, replace=False)
            reached = np.concatenate([mover.after(layer)[0] for mover in self.movers])
            layer = seen.new(self.fields.settled(reached))
            if seen.count > most:
                raise AssertionError(f"more than {most} states: the model is too large")
        return Explored(seen.count)

    def _settled(self, state: int) -> Array:
        return self.fields.settled(np.array([state], np.uint64))

    def _trace(self, last: int) -> Iterator[str]:
        """Who did what, from the start to `last`; actors that are alike keep their names all the way."""
        path = [last]
        for layer in reversed(self.layers[:-1]):
            path.append(self._before(layer, path[-1]))
        here = self.start
        for _, goal in pairwise(reversed(path)):
            line, here = next(self._steps_to(here, goal))
            yield line

    def _before(self, layer: Array, goal: int) -> int:
        for mover in self.movers:
            reached, origins = mover.after(layer)
            found = np.flatnonzero(self.fields.settled(reached) == np.uint64(goal))
            if len(found):
                return int(layer[origins[found[0]]])
        raise AssertionError("every state but the first was reached from the layer before")

    def _steps_to(self, here: int, goal: int) -> Iterator[tuple[str, int]]:
        for name, mover in zip(self.names, self.movers, strict=True):
            for words, after in mover.in_words(here):
                if int(self._settled(after)[0]) == goal:
                    yield f"{name}: {words}", after


def _in_parts(fields: Fields, rule: Rule) -> Callable[[int], str | None]:
    return lambda key: rule.broken(*fields.unpack(key, rule.sees))


def explore(model: Model, most: int = MOST, *, widest: int | None = None) -> Explored:
    """All that `model` can come to, or the shortest way to a broken rule. AssertionError beyond `most` states.

    With `widest`, of each distance from the start no more states than that are gone on from, always the same.
    """
    # Nothing that is made has cycles: Python's collector would walk over all parts and steps, again and again.
    was_on = gc.isenabled()
    gc.disable()
    try:
        return _Exploration(model).run(most, widest)
    finally:
        if was_on:
            gc.enable()
