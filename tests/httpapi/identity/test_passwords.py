from __future__ import annotations

import pytest

from httpapi.identity.passwords import PasswordRefused, cost_of, hash_of, is_right, nobodys_hash


def test_a_password_belongs_to_its_hash_and_no_other_does() -> None:
    entry = hash_of("grüße", cost=4)
    assert cost_of(entry) == 4
    assert is_right("grüße".encode(), entry)
    assert not is_right("grüße".encode("latin-1"), entry)
    assert not is_right(b"", entry)


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_every_kind_of_bcrypt_that_htpasswd_ever_wrote_is_known(prefix: str) -> None:
    entry = prefix + hash_of("x", cost=4).removeprefix("$2b$")
    assert cost_of(entry) == 4
    assert is_right(b"x", entry)


@pytest.mark.parametrize("password", ["", "x" * 73, "ü" * 37, "a\0b"])
def test_a_password_that_bcrypt_would_cut_short_is_not_made(password: str) -> None:
    with pytest.raises(PasswordRefused, match="choose"):
        hash_of(password, cost=4)


def test_a_password_that_goes_on_behind_bcrypts_end_is_wrong() -> None:
    entry = hash_of("x" * 72, cost=4)
    assert is_right(b"x" * 72, entry)
    assert not is_right(b"x" * 73, entry)
    assert not is_right(b"a\0b", hash_of("a?b", cost=4))


def test_the_hash_of_nobody_can_be_checked_and_is_never_met() -> None:
    for _ in range(20):
        entry = nobodys_hash(4)
        assert cost_of(entry) == 4
        assert not is_right(b"", entry)


@pytest.mark.parametrize("entry", ["", "plain", "$apr1$x$y", "{SHA}abc=", "$2b$12$short", "$2b$03$" + "a" * 53])
def test_what_is_not_bcrypt_has_no_cost(entry: str) -> None:
    assert cost_of(entry) is None
