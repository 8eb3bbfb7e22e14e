"""The checks: functions with a name and a sentence, each of which gives figures with their bounds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

MB = 1e6


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the show: what was looked at, what came out, what was asked for, and whether it holds."""

    what: str
    figure: str
    bound: str
    ok: bool
    detail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """The `number`th of so many parts of a long check, which may be run at different times. Checks may do all of it."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """`2/5`; ValueError if it is no such thing."""
        number, _, of = text.partition("/")
        part = cls(int(number), int(of))
        if not 1 <= part.number <= part.of:
            raise ValueError(f"{text} is no part: 2/5 is the second of five")
        return part


@dataclass(frozen=True, slots=True)
class Room:
    """What a check is given: a directory of its own, where pairs of images are kept, and which form is wanted."""

    work: Path
    images: Path
    short: bool
    part: Part = Part()


Run = Callable[[Room], Generator[Figure, None, None]]


@dataclass(frozen=True, slots=True)
class Check:
    """One line under "Must show" of an issue."""

    issue: str
    name: str
    sentence: str
    run: Run
    long_only: bool


CHECKS: dict[tuple[str, str], Check] = {}


def check(issue: str, name: str, sentence: str, *, long_only: bool = False) -> Callable[[Run], Run]:
    """Registers a function as a check of the issue. `long_only`: it has no short form and is left out of short runs."""

    def register(run: Run) -> Run:
        if (issue, name) in CHECKS:
            raise ValueError(f"two checks of {issue} are called {name}: give one another name")
        CHECKS[issue, name] = Check(issue, name, sentence, run, long_only)
        return run

    return register


def load() -> None:
    """Imports every module of every issue's folder here, so that their checks are registered."""
    here = Path(__file__).parent
    for path in sorted(here.glob("*/*.py")):
        if path.stem != "__init__":
            importlib.import_module(f"bench.show.{path.parent.name}.{path.stem}")


def at_most(what: str, value: float, bound: float, unit: str, detail: tuple[str, ...] = ()) -> Figure:
    """A figure that must not be larger than the bound."""
    return Figure(what, f"{_short(value)} {unit}", f"<= {_short(bound)} {unit}", value <= bound, detail)


def at_least(what: str, value: float, bound: float, unit: str, detail: tuple[str, ...] = ()) -> Figure:
    """A figure that must not be smaller than the bound."""
    return Figure(what, f"{_short(value)} {unit}", f">= {_short(bound)} {unit}", value >= bound, detail)


def holds(what: str, ok: bool, detail: tuple[str, ...] = ()) -> Figure:  # noqa: FBT001 - the answer is the point
    """Something that is so or isn't."""
    return Figure(what, "yes" if ok else "no", "yes", ok, detail)


def told(what: str, figure: str, detail: tuple[str, ...] = ()) -> Figure:
    """A figure without a bound of its own."""
    return Figure(what, figure, "-", True, detail)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
