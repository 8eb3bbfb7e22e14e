"""Rules of a policy in oslo.policy's language: read once, told what is wrong with them, evaluated often.

    rule   = or
    or     = and { "or" and }
    and    = not { "and" not }
    not    = "not" not | "(" or ")" | check
    check  = "@" | "!" | kind ":" match

An empty text allows everybody, as "@" does; "!" nobody. `role:NAME` is a role of the caller's, `rule:NAME` another
rule. A kind that is a literal ('shared', True, 7) is compared with the match; any other is an attribute of the
caller's, which a match equals if it is a list and one of its items does. In a match `%(name)s` stands for an attribute
of the target; a check that names one which this target lacks is false, and one that has no value equals None alone.

It differs from oslo.policy where that one goes on in silence: what cannot be read, or names a rule or an attribute
that there is none of, is refused, instead of denying (or, after "not", allowing). So are `http:` checks, and rules that
are lists.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from catalog.model.caller import Caller

Target: TypeAlias = "Mapping[str, object]"
Check: TypeAlias = "Callable[[Mapping[str, Check], Caller, Target], bool]"

ATTRIBUTES: Final[Mapping[str, Callable[[Caller], object]]] = {
    "user_id": lambda caller: caller.user,
    "user": lambda caller: caller.user,
    "project_id": lambda caller: caller.project,
    "tenant": lambda caller: caller.project,
    "roles": lambda caller: caller.roles,
    "service_roles": lambda caller: caller.service_roles,
    "is_admin": lambda caller: caller.is_admin,
}
"""What a check can ask of a caller."""

DEEPEST: Final = 10
"""So deep may parentheses stand in each other, and rules refer to each other: what is evaluated is bounded."""
_NAMED: Final = re.compile(r"%\(([^()]*)\)s")
_WORDS: Final = frozenset({"and", "or", "not"})


class RuleRefused(Exception):
    """A rule cannot be read; the message says why, without the rule's name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that was read; `rules` and `target` are the names of the rules and of the target's attributes in it."""

    text: str
    check: Check
    rules: frozenset[str]
    target: frozenset[str]


def parse(text: str) -> Rule:
    """Read one rule; raises RuleRefused."""
    if not text:
        return Rule(text, _always, frozenset(), frozenset())
    reading = _Reading(list(_tokens(text)))
    check = reading.any_of(0)
    if reading.tokens:
        raise RuleRefused(f"{reading.tokens[0]!r} stands where and, or, or the end would")
    return Rule(text, check, frozenset(reading.rules), frozenset(reading.target))


@dataclass(slots=True)
class _Reading:
    """A rule's tokens that are still to be read, and what was named so far."""

    tokens: list[str]
    rules: set[str] = field(default_factory=set)
    target: set[str] = field(default_factory=set)

    def any_of(self, depth: int) -> Check:
        parts = [self._all_of(depth)]
        while self._takes("or"):
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else _any(tuple(parts))

    def _all_of(self, depth: int) -> Check:
        parts = [self._single(depth)]
        while self._takes("and"):
            parts.append(self._single(depth))
        return parts[0] if len(parts) == 1 else _all(tuple(parts))

    def _single(self, depth: int) -> Check:
        if depth > DEEPEST:
            raise RuleRefused(f"it is nested more than {DEEPEST} deep")
        if self._takes("not"):
            return _not(self._single(depth + 1))
        if self._takes("("):
            inner = self.any_of(depth + 1)
            if not self._takes(")"):
                raise RuleRefused("a parenthesis is not closed")
            return inner
        if not self.tokens:
            raise RuleRefused("it ends where a check would stand")
        return self._check(self.tokens.pop(0))

    def _takes(self, token: str) -> bool:
        if self.tokens and self.tokens[0].lower() == token:
            del self.tokens[0]
            return True
        return False

    def _check(self, token: str) -> Check:
        if token in _CONSTANT:
            return _CONSTANT[token]
        kind, colon, match = token.partition(":")
        if not colon or token.lower() in _WORDS | {")"}:
            raise RuleRefused(f"{token!r} is no check such as role:admin")
        if kind in {"http", "https"}:
            raise RuleRefused(f"{token!r} would ask another server, which this service does not")
        if kind == "rule":
            self.rules.add(match)
            return _rule(match)
        self.target.update(_NAMED.findall(match))
        if "%" in _NAMED.sub("", match):
            raise RuleRefused(f"{token!r} has a % that is no %(name)s")
        return _role(match) if kind == "role" else _compared(kind, match)


def _tokens(text: str) -> Iterator[str]:
    """Words apart by white space, and the parentheses around them; those of %(name)s are inside of a word."""
    words = text.split()
    if not words:
        raise RuleRefused("it has nothing but white space; leave it empty, or write @ for everybody and ! for nobody")
    for word in words:
        inner = word.lstrip("(")
        yield from "(" * (len(word) - len(inner))
        check = inner.rstrip(")")
        if check:
            yield check
        yield from ")" * (len(inner) - len(check))


def _always(_rules: Mapping[str, Check], _caller: Caller, _target: Target) -> bool:
    return True


def _never(_rules: Mapping[str, Check], _caller: Caller, _target: Target) -> bool:
    return False


_CONSTANT: Final[Mapping[str, Check]] = {"@": _always, "!": _never}


def _any(parts: tuple[Check, ...]) -> Check:
    return lambda rules, caller, target: any(part(rules, caller, target) for part in parts)


def _all(parts: tuple[Check, ...]) -> Check:
    return lambda rules, caller, target: all(part(rules, caller, target) for part in parts)


def _not(part: Check) -> Check:
    return lambda rules, caller, target: not part(rules, caller, target)


def _rule(name: str) -> Check:
    return lambda rules, caller, target: rules[name](rules, caller, target)


def _role(match: str) -> Check:
    def holds(_rules: Mapping[str, Check], caller: Caller, target: Target) -> bool:
        role = _filled(match, target)
        return role is not None and caller.has(role.lower())

    return holds


def _compared(kind: str, match: str) -> Check:
    try:
        literal = str(ast.literal_eval(kind))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return _attribute(kind, match)
    return lambda _rules, _caller, target: _filled(match, target, nothing="None") == literal


def _attribute(name: str, match: str) -> Check:
    read = ATTRIBUTES.get(name)
    if read is None:
        raise RuleRefused(f"callers have no {name[:40]!r}; they have {', '.join(sorted(ATTRIBUTES))}")

    def holds(_rules: Mapping[str, Check], caller: Caller, target: Target) -> bool:
        # What has no owner is not owned by a project that is called None.
        wanted, found = _filled(match, target), read(caller)
        if isinstance(found, frozenset):
            return wanted in found
        return wanted is not None and wanted == str(found)

    return holds


def _filled(match: str, target: Target, *, nothing: str | None = None) -> str | None:
    """The match with the target's attributes in it; None where one is missing, or has no value, and no `nothing`."""
    if "%" not in match:
        return match
    values = {name: target.get(name, _MISSING) for name in _NAMED.findall(match)}
    if any(value is _MISSING or (value is None and nothing is None) for value in values.values()):
        return None
    return _NAMED.sub(lambda found: nothing or "" if values[found[1]] is None else str(values[found[1]]), match)


_MISSING: Final = object()
