"""The explorer: every state that a protocol can reach, breadth first, so that the trace to a wrong one is a shortest.

A state is a tuple of parts: what all share, and one part for each actor. Parts are numbered, so a state is a tuple of
small ints. An actor's steps depend on the parts that it sees and on nothing else. So they are worked out once for each
combination of those, in whatever readable way a model is written, and looked up in all states that differ elsewhere.

Actors of one kind whom nothing tells apart are interchangeable: of states that differ in who is who, one is explored.
This is sound because every step and every rule treats them alike: exchanged parts lead to exchanged runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

Parts: TypeAlias = tuple[Any, ...]
State: TypeAlias = tuple[int, ...]
MOST: Final = 4_000_000
"""States of one model: beyond it, it is too large to be explored at every change."""


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
    """Where `holds`, the `cleaners` (numbers of actors) can come to a state in which nothing is `left`, all alone.

    `sees` has every part that cleaners see.
    """

    sees: tuple[int, ...]
    holds: Callable[..., bool]
    cleaners: tuple[int, ...]
    left: Callable[..., str | None]


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


@dataclass(slots=True)
class _Numbers:
    """Parts as numbers, and back."""

    parts: list[Hashable] = field(default_factory=list)
    known: dict[Hashable, int] = field(default_factory=dict)

    def of(self, part: Hashable) -> int:
        number = self.known.setdefault(part, len(self.parts))
        if number == len(self.parts):
            self.parts.append(part)
        return number

    def those(self, key: int | State) -> list[Any]:
        return [self.parts[number] for number in ((key,) if isinstance(key, int) else key)]


@dataclass(slots=True)
class _Mover:
    """An actor's steps in numbers; `known` is shared by all actors with the same steps."""

    actor: Actor
    numbers: _Numbers
    known: dict[int | State, list[State]]
    look: Callable[[State], int | State] = field(init=False)

    def __post_init__(self) -> None:
        self.look = itemgetter(*self.actor.sees)

    def after(self, state: State) -> list[State]:
        key = self.look(state)
        found = self.known.get(key)
        return self.work_out(key) if found is None else found

    def work_out(self, key: int | State) -> list[State]:
        found = self.known[key] = list(dict.fromkeys(after for _, after in self.in_words(key)))
        return found

    def in_words(self, key: int | State) -> Iterator[tuple[str, State]]:
        for words, after in self.actor.steps(*self.numbers.those(key)):
            yield words, tuple(map(self.numbers.of, after))

    def moved(self, state: State, after: State) -> list[int]:
        parts = list(state)
        for at, number in zip(self.actor.sees, after, strict=True):
            parts[at] = number
        return parts


_Judged: TypeAlias = "tuple[Callable[[State], int | State], Callable[[State, int | State], str | None], dict[Any, Any]]"
"""What a rule looks at, what it says of that, and what it has said."""


class _Exploration:
    def __init__(self, model: Model) -> None:
        self.numbers = _Numbers()
        steps: dict[Callable[..., Any], dict[int | State, list[State]]] = {}
        self.movers = [_Mover(actor, self.numbers, steps.setdefault(actor.steps, {})) for actor in model.actors]
        self.rules: list[_Judged] = []
        for rule in model.rules:
            self.rules.append((itemgetter(*rule.sees), self._judge(rule), {}))
        if model.quiet is not None:
            look: Callable[[State], int | State] = itemgetter(*model.quiet.sees)
            self.rules.append((look, self._judge_quiet(model.quiet, look), {}))
        self.alike = list(model.alike)
        self.start = tuple(self.numbers.of(part) for part in model.start)
        self.came: dict[State, State | None] = {}

    def run(self, most: int) -> Explored:
        first = self.settled(list(self.start))
        self.came[first] = None
        layer = [first]
        while layer:
            for state in layer:
                for look, judge, known in self.rules:
                    key = look(state)
                    if key not in known:
                        known[key] = judge(state, key)
                    if known[key] is not None:
                        return Explored(len(self.came), known[key], tuple(self._trace(state)))
            layer = self._next(layer)
            if len(self.came) > most:
                raise AssertionError(f"more than {most} states: the model is too large")
        return Explored(len(self.came))

    def _next(self, layer: list[State]) -> list[State]:
        came, alike = self.came, self.alike
        plans = [(mover, mover.look, mover.known, mover.actor.sees) for mover in self.movers]
        found = []
        for state in layer:
            for mover, look, known, sees in plans:
                key = look(state)
                steps = known.get(key)
                if steps is None:
                    steps = mover.work_out(key)
                for after in steps:
                    # As `_Mover.moved` and `settled`, written out for their speed.
                    parts = list(state)
                    for at, number in zip(sees, after):  # noqa: B905 - as long as each other, and this is the innermost line
                        parts[at] = number
                    for one, other in alike:
                        if parts[one] > parts[other]:
                            parts[one], parts[other] = parts[other], parts[one]
                    reached = tuple(parts)
                    if reached not in came:
                        came[reached] = state
                        found.append(reached)
        return found

    def settled(self, parts: list[int]) -> State:
        """Of all states that are alike, the same one."""
        for one, other in self.alike:
            if parts[one] > parts[other]:
                parts[one], parts[other] = parts[other], parts[one]
        return tuple(parts)

    def _judge(self, rule: Rule) -> Callable[[State, int | State], str | None]:
        return lambda _state, key: rule.broken(*self.numbers.those(key))

    def _judge_quiet(
        self, quiet: Quiet, look: Callable[[State], int | State]
    ) -> Callable[[State, int | State], str | None]:
        cleaners = [self.movers[number] for number in quiet.cleaners]

        emptied: set[State] = set()

        def judge(state: State, key: int | State) -> str | None:
            if not quiet.holds(*self.numbers.those(key)):
                return None
            came: dict[State, State | None] = {state: None}
            todo = [state]
            left: str | None = None
            while todo:
                # Depth first: a collection goes straight to its end.
                at: State | None = todo.pop()
                assert at is not None
                found = quiet.left(*self.numbers.those(look(at)))
                if found is None or at in emptied:
                    while at is not None:
                        emptied.add(at)
                        at = came[at]
                    return None
                left = found
                for mover in cleaners:
                    for after in mover.after(at):
                        reached = tuple(mover.moved(at, after))
                        if reached not in came:
                            came[reached] = at
                            todo.append(reached)
            return f"all is quiet, nothing reaches a block, and however long one collects: {left}"

        return judge

    def _trace(self, last: State) -> Iterator[str]:
        """Who did what, from the start to `last`; actors that are alike keep their names all the way."""
        path: list[State] = []
        state: State | None = last
        while state is not None:
            path.append(state)
            state = self.came[state]
        here = self.start
        for _, goal in pairwise(reversed(path)):
            line, here = next(self._steps_to(here, goal))
            yield line

    def _steps_to(self, here: State, goal: State) -> Iterator[tuple[str, State]]:
        for mover in self.movers:
            for words, after in mover.in_words(mover.look(here)):
                parts = mover.moved(here, after)
                if self.settled(list(parts)) == goal:
                    yield f"{mover.actor.name}: {words}", tuple(parts)


def explore(model: Model, most: int = MOST) -> Explored:
    """All that `model` can come to, or the shortest way to a broken rule. AssertionError beyond `most` states."""
    return _Exploration(model).run(most)
