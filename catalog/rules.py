"""A whole set of rules: the defaults, what an operator put in their place, and whether the whole makes sense."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog.rule_language import DEEPEST, RuleRefused, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from catalog.model.caller import Caller
    from catalog.rule_language import Check, Rule, Target


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that were read and name each other rightly; `changed` are those that mean something new."""

    checks: Mapping[str, Check]
    changed: frozenset[str] = frozenset()

    def allow(self, name: str, caller: Caller, target: Target) -> bool:
        """Whether the rule lets the caller do it to the target."""
        return self.checks[name](self.checks, caller, target)


def join(
    defaults: Mapping[str, str],
    given: Mapping[str, object],
    targets: Mapping[str, AbstractSet[str]],
    *,
    idle: AbstractSet[str] = frozenset(),
) -> Rules:
    """The defaults with what was given in their place. Raises RuleRefused with every problem, a sentence each.

    `targets` says which attributes the target of each rule of the service has; a rule of the operator's own, for others
    to refer to, has those of whoever refers to it. Names in `idle` may be given and do nothing.
    """
    problems: list[str] = []
    read: dict[str, Rule] = {}
    for name, text in (dict(defaults) | dict(given)).items():
        try:
            read[name] = parse(_text(text))
        except RuleRefused as refused:
            problems.append(f"Rule {name[:80]!r}: {refused}.")
    problems += [*_unknown(read, defaults, given, idle), *_circles(read), *_wrong_targets(read, targets)]
    if problems:
        raise RuleRefused("\n".join(problems))
    differ = {name for name, text in given.items() if defaults.get(name) != text}
    changed = frozenset(name for name in read if not differ.isdisjoint(_reached(read, name)))
    return Rules({name: rule.check for name, rule in read.items()}, changed)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise RuleRefused('it is no text: write it in quotes, "" for everybody and "!" for nobody')


def _unknown(
    read: Mapping[str, Rule], defaults: Mapping[str, str], given: Mapping[str, object], idle: AbstractSet[str]
) -> Iterator[str]:
    named = {name for rule in read.values() for name in rule.rules}
    known = {*defaults, *given}
    for name, rule in read.items():
        for missing in sorted(rule.rules - known):
            yield f"Rule {name[:80]!r} refers to {missing[:80]!r}, and there is no such rule.{_like(missing, known)}"
    for name in given:
        # An operator's own rule is there to be referred to; else it is one of ours, misspelt, and would do nothing.
        if name not in defaults and name not in named and name not in idle:
            yield f"Rule {name[:80]!r} is none of this service's, and no rule refers to it.{_like(name, defaults)}"


def _like(name: str, known: AbstractSet[str] | Mapping[str, str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" Is {close[0]!r} meant?" if close else ""


def _circles(read: Mapping[str, Rule]) -> Iterator[str]:
    """What is wrong with how rules refer to each other: in a circle, or too deep. What could not be read ends a way."""
    depths: dict[str, int] = {}

    def walk(name: str, path: tuple[str, ...]) -> Iterator[str]:
        if name in path:
            yield f"Rules refer to themselves: {' → '.join((*path[path.index(name) :], name))}."
        elif name not in depths and len(path) <= DEEPEST:
            inside = sorted(read[name].rules & read.keys())
            for inner in inside:
                yield from walk(inner, (*path, name))
            below = (depths.get(inner, 0 if inner in (*path, name) else DEEPEST) for inner in inside)
            depths[name] = 1 + max(below, default=0)
            if depths[name] > DEEPEST:
                yield f"Rule {name[:80]!r} refers to rules that refer to others, more than {DEEPEST} deep."

    for name in read:
        yield from walk(name, ())


def _reached(read: Mapping[str, Rule], name: str) -> set[str]:
    """The rule itself and all that it refers to."""
    found: set[str] = set()
    left = [name]
    while left:
        if (each := left.pop()) in read and each not in found:
            found.add(each)
            left += read[each].rules
    return found


def _wrong_targets(read: Mapping[str, Rule], targets: Mapping[str, AbstractSet[str]]) -> Iterator[str]:
    for name, known in targets.items():
        used = {attribute for each in _reached(read, name) for attribute in read[each].target}
        for attribute in sorted(used - known):
            yield (
                f"Rule {name!r} looks at %({attribute[:40]})s, which it cannot: "
                + (f"it knows {', '.join(sorted(known))}." if known else "it knows no attributes.")
            )
