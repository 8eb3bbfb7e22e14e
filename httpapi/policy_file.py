"""The operator's policy file: rules in oslo.policy's language, in YAML (or JSON, which is YAML), in place of defaults.

What YAML makes of a text that was not quoted can be the opposite of what was meant (`!` alone is a tag on nothing, and
so the empty text, which allows everybody), and of a key that stands there twice it takes the last. Both are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog.policy import rules_with
from catalog.rule_language import RuleRefused
from catalog.rule_targets import DEFAULT, NOT_SERVED
from httpapi.rules_file import read_rules_file
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from catalog.property_protection import Protection
    from catalog.rules import Rules
    from httpapi.settings import Settings


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """The rules that hold with the file, how many it gives, and which of them are for acts that are not served."""

    rules: Rules
    given: int
    idle: tuple[str, ...]


def policy_of(settings: Settings, protection: Protection) -> PolicyFile | None:
    """The policy that holds with these settings, if it is not the defaults alone.

    Raises SettingsRefused with all that is wrong with the file, or with what the protection of properties wants of it.
    """
    if settings.policy_file is not None:
        return read_policy(settings.policy_file, protection.rules)
    if not protection.rules:
        return None
    try:
        return PolicyFile(rules_with({}, protection.rules), 0, ())
    except RuleRefused as refused:
        where = f"property_protection_file {settings.property_protection_file}"
        raise SettingsRefused.over(where, str(refused).splitlines()) from None


def read_policy(path: Path, properties: Mapping[str, str] | None = None) -> PolicyFile:
    """Read a policy file; raises SettingsRefused with all that is wrong with it.

    `properties` are rules that the file of properties adds.
    """
    text = read_rules_file("policy_file", path)
    try:
        given = _rules_in(text)
        rules = rules_with(given, properties)
    except RuleRefused as refused:
        raise SettingsRefused.over(f"policy_file {path}", str(refused).splitlines()) from None
    used = {DEFAULT} if properties else set()
    return PolicyFile(rules, len(given), tuple(sorted((NOT_SERVED & given.keys()) - used)))


def _rules_in(text: str) -> dict[str, object]:
    import yaml

    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = " ".join(str(error).split())
        raise RuleRefused(
            f'It is no YAML ({what}): write rules in quotes, such as delete_image: "role:admin".'
        ) from None
    if document is None:
        return {}
    if not isinstance(document, yaml.MappingNode):
        raise RuleRefused('It is a list of names and rules, a line each, such as delete_image: "role:admin".')
    names: set[str] = set()
    for key, value in document.value:
        if not isinstance(key, yaml.ScalarNode) or key.value in names:
            raise RuleRefused(f"Rule {str(key.value)[:80]!r} stands there twice, or is no name.")
        names.add(key.value)
        if isinstance(value, yaml.ScalarNode) and not value.value and value.style is None:
            raise RuleRefused(
                f'Rule {key.value[:80]!r} is empty, or !: write "" for everybody or "!" for nobody, quoted.'
            )
    return {str(name): value for name, value in values.items()}
