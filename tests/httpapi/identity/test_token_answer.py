"""What Keystone tells of a token is read strictly: nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest

from httpapi.identity.access_rules import AccessRule
from httpapi.identity.token_answer import AnswerRefused, read_token
from tests.kit.played_keystone import told


def test_user_project_and_roles_in_lower_case_are_read() -> None:
    token = read_token(told("u1", "p1", "Member", "READER", expires_at="2026-11-27T00:58:53.000000Z"))
    assert (token.user, token.project) == ("u1", "p1")
    assert token.roles == {"member", "reader"}
    assert token.expires == 1795741133
    assert token.access_rules is None


def test_a_token_of_no_project_has_none() -> None:
    document = told("u1", None, domain={"id": "d"})
    del document["token"]["roles"]
    assert (read_token(document).project, read_token(document).roles) == (None, frozenset())


def test_access_rules_are_read_and_an_empty_list_is_not_none() -> None:
    rule = {"id": "r", "service": "image", "method": "GET", "path": "/v2/images"}
    bound = told("u1", "p1", application_credential={"id": "c", "restricted": True, "access_rules": [rule]})
    assert read_token(bound).access_rules == (AccessRule("image", "GET", "/v2/images"),)
    assert read_token(told("u", "p", application_credential={"access_rules": []})).access_rules == ()
    assert read_token(told("u", "p", application_credential={"id": "c"})).access_rules is None


def test_what_a_user_writes_into_a_rule_is_any_text() -> None:
    rule = {"id": "r", "service": "image", "method": "GET", "path": "/\u200b\n"}
    bound = told("u1", "p1", application_credential={"id": "c", "access_rules": [rule]})
    assert read_token(bound).access_rules == (AccessRule("image", "GET", "/\u200b\n"),)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"token": None},
        {"token": []},
        told("", "p"),
        told("u\n", "p"),
        told("u", "p", user=None),
        told("u", "p", user={"id": 7}),
        told("u", ""),
        told("u", "p", project="p"),
        told("u", "p", roles=None),
        told("u", "p", roles={"name": "admin"}),
        told("u", "p", roles=["admin"]),
        told("u", "p", roles=[{"name": None}]),
        told("u", "p", expires_at=None),
        told("u", "p", expires_at="soon"),
        told("u", "p", expires_at="2026-11-27T00:58:53"),
        told("u", "p", application_credential="c"),
        told("u", "p", application_credential={"access_rules": {}}),
        told("u", "p", application_credential={"access_rules": [{"service": "image", "path": "/"}]}),
    ],
)
def test_nonsense_is_no_token(document: Any) -> None:
    with pytest.raises(AnswerRefused):
        read_token(document)
