"""Who may create, read, change and delete extra properties, by their names: the operator's file of rules.

The file is the reference's: a section is a regular expression, searched for anywhere in a property's name; the first
section that is found decides, and where none is, nobody may. Each section has four lines, of roles or of policy rules:

    [^x_owner_]
    create = admin,member
    read = @
    update = admin
    delete = !

`@` is everybody and `!` nobody. In the other form of the file each line names one rule of the policy. Base attributes
have no part in it; names of the service's own are everybody's to read.

Expressions are RE2's: a search takes time in proportion to the name's length, whatever the operator or a caller wrote.
It knows no look-around and no back-references; a file with these is refused. All sections are searched for at once: a
thousand images may have a hundred thousand names, and one after another 256 sections would take a millisecond for each.
"""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import re2

from catalog.model.known_properties import RESERVED_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from catalog.model.caller import Caller

MOST_SECTIONS: Final = 256
# For one expression, and for all of them as one: what a search may touch is bounded by it, too.
_PROGRAM_BYTES: Final = 1 << 20
_SET_BYTES: Final = 2 << 20
# Longer names are no property's, and are not worth remembering.
_LONGEST_NAME: Final = 255
_REMEMBERED: Final = 8192
_NOT_FOUND: Final = -1
_RULE: Final = re.compile(r"[\w.:*-]+")


class Operation(StrEnum):
    """What can be done with a property."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"


class ProtectionRefused(Exception):
    """A file of rules that cannot be used; `problems` are sentences, each naming its section."""

    def __init__(self, *problems: str) -> None:
        super().__init__(problems[0])
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom one line of a section lets: everybody, who has one of the roles, or whom the policy's rule `rule` lets."""

    everybody: bool = False
    roles: frozenset[str] = frozenset()
    rule: str | None = None

    def allows(self, caller: Caller) -> bool:
        """Whether the caller is one of them."""
        if self.everybody or not self.roles.isdisjoint(caller.service_roles):
            return True
        if self.rule is not None:
            # Without a policy that has the rule nobody may.
            return caller.rules is not None and caller.rules.allow(self.rule, caller, {})
        return any(caller.has(role) for role in self.roles)


@dataclass(frozen=True, slots=True)
class Section:
    """An expression and who may do what with the properties whose names it is found in."""

    expression: str
    grants: Mapping[Operation, Grant]


class Protection:
    """All sections in their order; without any (the default) nothing is protected.

    `rules` are those that its lines want to be in the policy: by their names what they say, in the policy's language.
    """

    def __init__(self, sections: tuple[Section, ...] = (), rules: Mapping[str, str] | None = None) -> None:
        self.sections = sections
        self.rules = rules or {}
        self._first_of = _first_of([each.expression for each in sections])
        self._remembered = lru_cache(_REMEMBERED)(self._first)

    def rights(self, caller: Caller) -> PropertyRights:
        """What this caller may do."""
        return PropertyRights(self, caller)

    def section_of(self, name: str) -> int:
        """The number of the first section that the name belongs to; negative where it belongs to none."""
        return self._remembered(name) if len(name) <= _LONGEST_NAME else self._first(name)

    def _first(self, name: str) -> int:
        try:
            text = name.encode()
        except UnicodeEncodeError:
            return _NOT_FOUND
        return self._first_of(text)


@dataclass(frozen=True, slots=True)
class PropertyRights:
    """What one caller may do with properties, for the length of a request."""

    protection: Protection
    caller: Caller
    _granted: dict[tuple[int, Operation], bool] = field(default_factory=dict, repr=False)

    def may(self, operation: Operation, name: str) -> bool:
        """Whether the caller may do this with a property of this name."""
        if not self.protection.sections or name.startswith(RESERVED_PREFIX):
            return True
        number = self.protection.section_of(name)
        if number == _NOT_FOUND:
            return False
        key = (number, operation)
        if key not in self._granted:
            self._granted[key] = self.protection.sections[number].grants[operation].allows(self.caller)
        return self._granted[key]

    def seen(self, properties: Mapping[str, str]) -> Mapping[str, str]:
        """Of these properties those that the caller may read."""
        if not self.protection.sections:
            return properties
        return {name: value for name, value in properties.items() if self.may(Operation.READ, name)}


def parse_protection(text: str, *, by_policy: bool = False) -> Protection:
    """Read a file of rules; `by_policy`: each line names a rule of the policy, and no roles.

    Raises ProtectionRefused with all that is wrong with it.
    """
    parser = configparser.RawConfigParser(default_section="\0", strict=True)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ProtectionRefused(f"it is no INI file: {' '.join(str(error).split())}.") from None
    if not parser.sections():
        raise ProtectionRefused("it has no section, so nobody could use any property; [.*] is the section of all.")
    if len(parser.sections()) > MOST_SECTIONS:
        raise ProtectionRefused(f"it has {len(parser.sections())} sections; {MOST_SECTIONS} are the most.")
    problems: list[str] = []
    rules: dict[str, str] = {}
    # The service's own names are not the operator's to protect, as in the reference.
    ours = [each for each in parser.sections() if not each.startswith(RESERVED_PREFIX)]
    sections = tuple(_section(each, dict(parser.items(each)), problems, rules if by_policy else None) for each in ours)
    if not ours:
        problems.append(f"it has sections for {RESERVED_PREFIX} alone, which are not the operator's to write.")
    if problems:
        raise ProtectionRefused(*problems)
    return Protection(sections, rules)


def _section(expression: str, lines: Mapping[str, str], problems: list[str], rules: dict[str, str] | None) -> Section:
    shown = f"section [{expression[:80]}]"
    try:
        _search_of(expression)
    except ProtectionRefused as refused:
        problems.append(f"{shown}: {refused}")
    grants: dict[Operation, Grant] = {}
    for operation in Operation:
        if operation not in lines:
            problems.append(f"{shown} has no line {operation.value}; ! is nobody and @ everybody.")
        else:
            try:
                line = lines[operation]
                named = f"{expression}:{operation.value}"
                grants[operation] = _grant(line) if rules is None else _by_policy(line, named, rules)
            except ProtectionRefused as refused:
                problems.append(f"{shown}, {operation.value}: {refused}")
    return Section(expression, grants)


def _grant(line: str) -> Grant:
    words = frozenset(_words(line))
    if {"@", "!"} <= words:
        raise ProtectionRefused("@ and ! cannot both be: everybody, or nobody.")
    if "!" in words:
        return Grant()
    return Grant(everybody="@" in words, roles=words - {"@"})


def _by_policy(line: str, name: str, rules: dict[str, str]) -> Grant:
    """The grant of a line that names a rule of the policy; what else the policy's language has is not for here."""
    rule = line.strip()
    if rule in {"", "@", "!"}:
        return _grant(line)
    if not _RULE.fullmatch(rule):
        raise ProtectionRefused(f"{rule[:80]!r} is no name of a rule of the policy; one stands there.")
    rules[name] = f"rule:{rule}"
    return Grant(rule=name)


def _words(line: str) -> Iterator[str]:
    return (word.strip().lower() for word in line.split(",") if word.strip())


def _first_of(expressions: Sequence[str]) -> Callable[[bytes], int]:
    """The number of the first expression that is found in a text, by one pass over it; negative where none is."""
    together = re2.Set.SearchSet(_options(_SET_BYTES))
    for each in expressions:
        together.Add(each)
    # What is found in everything: if not even that was, the search has run out of its memory.
    always = together.Add("")
    try:
        together.Compile()
    except re2.error:
        raise ProtectionRefused("its expressions are too much for one search; write fewer or shorter ones.") from None
    searches = [_search_of(each) for each in expressions]

    def first(text: bytes) -> int:
        found = min(together.Match(text), default=None)
        if found is None:
            return next((number for number, search in enumerate(searches) if search(text)), _NOT_FOUND)
        return _NOT_FOUND if found == always else int(found)

    return first


def _options(most_bytes: int) -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = most_bytes
    return options


def _search_of(expression: str) -> Callable[[bytes], object]:
    try:
        search: Callable[[bytes], object] = re2.compile(expression, _options(_PROGRAM_BYTES)).search
    except re2.error as error:
        told = error.args[0] if error.args else ""
        reason = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
        raise ProtectionRefused(
            f"the expression cannot be used ({reason}); it is RE2's, without look-around and back-references."
        ) from None
    return search
