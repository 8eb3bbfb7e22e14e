"""What Keystone tells of a token, read strictly: an answer that is not as its API says decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

from httpapi.identity.access_rules import AccessRule

if TYPE_CHECKING:
    from collections.abc import Mapping


class AnswerRefused(ValueError):
    """The answer is not what Keystone's API promises; the message names the part, and nothing secret."""


@dataclass(frozen=True, slots=True)
class Token:
    """Who stands behind a valid token. Ids are Keystone's, roles in lower case, `expires` seconds since 1970.

    `project` is None for a token of no project. `access_rules` is None where nothing bounds it; () allows nothing.
    """

    user: str
    project: str | None
    roles: frozenset[str]
    expires: float
    access_rules: tuple[AccessRule, ...] | None = None

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        rules = self.access_rules or ()
        texts = [self.user, self.project or "", *self.roles]
        texts += [text for rule in rules for text in (rule.service, rule.method, rule.path)]
        return 600 + sum(64 + len(text) for text in texts)


def read_token(document: object) -> Token:
    """The token in the body of `GET` or `POST /v3/auth/tokens`; raises AnswerRefused."""
    token = _table(_table(document, "the body").get("token"), "token")
    project = token.get("project")
    return Token(
        user=_text(_table(token.get("user"), "user").get("id"), "user.id"),
        project=None if project is None else _text(_table(project, "project").get("id"), "project.id"),
        roles=frozenset(_text(_table(role, "roles").get("name"), "roles").lower() for role in _roles(token)),
        expires=_time(token.get("expires_at")),
        access_rules=_access_rules(token.get("application_credential")),
    )


def _roles(token: Mapping[str, object]) -> list[object]:
    # A token of no project has none.
    return _list(token.get("roles", []), "roles")


def _access_rules(credential: object) -> tuple[AccessRule, ...] | None:
    if credential is None:
        return None
    rules = _table(credential, "application_credential").get("access_rules")
    if rules is None:
        return None
    where = "application_credential.access_rules"
    tables = [_table(rule, where) for rule in _list(rules, where)]
    return tuple(
        AccessRule(*(_rule_text(table.get(name), f"{where}.{name}") for name in ("service", "method", "path")))
        for table in tables
    )


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise AnswerRefused(f"{where} is no object")
    return cast("Mapping[str, object]", value)


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise AnswerRefused(f"{where} is no list")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise AnswerRefused(f"{where} is no text")
    return value


def _rule_text(value: object, where: str) -> str:
    # Any user may write rules, so an odd one is no sign that something is wrong with Keystone.
    if not isinstance(value, str):
        raise AnswerRefused(f"{where} is no text")
    return value


def _time(value: object) -> float:
    try:
        found = datetime.fromisoformat(_text(value, "expires_at"))
    except ValueError as error:
        raise AnswerRefused("expires_at is no time") from error
    if found.tzinfo is None:
        raise AnswerRefused("expires_at has no time zone")
    return found.timestamp()
