"""Both files of users: what they may hold, what is refused, and how a running server takes their changes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from httpapi.identity import accounts, htpasswd
from httpapi.identity.account_text import with_account, without_account
from httpapi.identity.htpasswd import UserFileRefused
from httpapi.identity.passwords import cost_of, hash_of
from httpapi.identity.users import UserFiles, read
from httpapi.wire.errors import ProjectRefused

if TYPE_CHECKING:
    from pathlib import Path

HASH = hash_of("secret", cost=4)
ACCOUNT = '[users.alice]\nproject = "lab"\nroles = ["Member"]\n'


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text(f"# people\n\nalice:{HASH}\n")
    (tmp_path / "accounts.toml").write_text(ACCOUNT)
    for each in tmp_path.iterdir():
        each.chmod(0o600)
    return path


def refusal(passwords: str, account_text: str = ACCOUNT) -> str:
    with pytest.raises(UserFileRefused) as caught:
        accounts.parse(account_text, "accounts") if not passwords else htpasswd.parse(passwords, "htpasswd")
    assert "$" not in str(caught.value)
    return str(caught.value)


def test_lines_are_names_and_hashes_and_comments_are_neither() -> None:
    assert htpasswd.parse(f"\n  # x:y\nalice:{HASH}\n", "f") == {"alice": HASH}


@pytest.mark.parametrize("entry", ["secret", "$apr1$abc$def", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "rOW8nsGFzYxQs"])
def test_any_hash_but_bcrypt_is_refused_with_both_commands_that_make_one(entry: str) -> None:
    said = refusal(f"# one\nalice:{entry}\n")
    assert "htpasswd, line 2" in said
    assert "`htpasswd -B -C 12 htpasswd alice`" in said
    assert "`drystone user add alice --replace --file htpasswd`" in said
    assert entry not in said


def test_lines_that_mean_nothing_or_two_things_are_refused() -> None:
    assert "expected NAME:HASH" in refusal("alice\n")
    assert "twice" in refusal(f"alice:{HASH}\nalice:{HASH}\n")
    assert "has at most 255 bytes" in refusal(f"{'a' * 256}:{HASH}\n")
    assert "cost 18" in refusal("alice:" + HASH.replace("$04$", "$18$"))


def test_an_account_has_one_project_or_several_and_a_usual_one() -> None:
    text = (
        '[users.a]\nproject = "lab"\nroles = ["Member", "reader"]\n'
        '[users.b]\nprojects = { ops = ["admin"], lab = [] }\n'
        '[users."c d"]\nproject = "lab"\nprojects = { ops = ["admin"], lab = ["reader"] }\n'
    )
    found = accounts.parse(text, "f")
    assert found["a"].projects == {"lab": {"member", "reader"}}
    assert (found["b"].project, found["c d"].project) == ("ops", "lab")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("users = [", "is not TOML"),
        ("user = {}", "and nothing else"),
        ("[users]\nalice = 3", "users.alice: expected project and roles"),
        ('[users.alice]\nproject = "lab"', "expected both"),
        ('[users.alice]\nroles = ["member"]', "expected both"),
        ('[users.alice]\nproject = "lab"\nrole = "member"', "expected project and roles"),
        ('[users.alice]\nproject = "lab"\nroles = "member"', "roles as a list"),
        ('[users.alice]\nproject = ""\nroles = []', "not empty"),
        ("[users.alice]\nprojects = {}", "expected projects such as"),
        ('[users.alice]\nproject = "x"\nprojects = {lab = []}', "not among projects"),
        ("[users.alice]\nroles = []\nprojects = {lab = []}", "take the other roles out"),
    ],
)
def test_an_account_that_could_mean_something_else_is_refused(text: str, said: str) -> None:
    assert said in refusal("", text)


def test_a_user_with_a_password_and_no_account_is_refused_with_what_to_add(passwords: Path) -> None:
    passwords.write_text(f"alice:{HASH}\nbob:{HASH}\n")
    with pytest.raises(UserFileRefused, match=r"bob has a password in .* add \[users.bob\] with project and roles"):
        UserFiles(passwords)


def test_a_missing_file_is_refused_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserFileRefused, match=r"cannot be read \(No such file.*`drystone user add NAME"):
        UserFiles(tmp_path / "none")


def test_a_caller_has_the_project_asked_for_or_the_usual_one(passwords: Path) -> None:
    account = '[users.alice]\nprojects = { lab = ["member"], ops = ["admin"] }\n'
    passwords.with_name("accounts.toml").write_text(account)
    users = read(passwords, passwords.with_name("accounts.toml"))
    assert users.caller("alice", None).project == "lab"
    assert users.caller("alice", " ops ").is_admin
    assert cost_of(users.nobody) == 4
    with pytest.raises(ProjectRefused, match="name one of lab, ops"):
        users.caller("alice", "other")


def test_changed_files_are_read_again_and_broken_ones_change_nothing(
    passwords: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = UserFiles(passwords)
    caplog.set_level(logging.INFO)
    passwords.write_text("broken")
    for _ in range(3):
        files.look()
    assert list(files.current().hashes) == ["alice"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    passwords.write_text("")
    files.look()
    assert list(files.current().hashes) == []
    passwords.unlink()
    files.look()
    assert "The users stay as they were before." in caplog.text
    passwords.write_text(f"alice:{HASH}\n")
    files.look()
    assert list(files.current().hashes) == ["alice"]


def test_files_that_everybody_can_read_are_told(passwords: Path, caplog: pytest.LogCaptureFixture) -> None:
    passwords.chmod(0o644)
    UserFiles(passwords)
    assert f"chmod o= {passwords}" in caplog.text


def test_a_line_is_added_replaced_and_removed_and_the_others_stay() -> None:
    text = f"# people\nalice:{HASH}\nbob:plain\n"
    assert htpasswd.with_entry(text, "alice", "new") == "# people\nbob:plain\nalice:new\n"
    assert htpasswd.with_entry("", "alice", "new") == "alice:new\n"
    assert htpasswd.without_entry(text, "bob") == f"# people\nalice:{HASH}\n"
    assert htpasswd.names(text) == {"alice", "bob"}


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", " a", "#a", "ü" * 128])
def test_a_name_that_the_file_cannot_hold_has_a_reason(name: str) -> None:
    assert htpasswd.name_fault(name)


COMMENTED = """# who may do what
[users.alice]     # our first
project = "lab"
roles = [
  "member",
]

[users.bob.projects]
lab = ["reader"]  # for now

# the robots
[users."night ly"]
project = "ops"
roles = []
"""


def test_accounts_change_by_lines_so_that_comments_stay() -> None:
    text = without_account(COMMENTED, "f", "bob")
    assert text.startswith("# who may do what\n[users.alice]     # our first\n")
    assert "bob" not in text
    text = with_account(text, "f", "night ly", 'o"ps', ["reader"])
    found = accounts.parse(text, "f")
    assert found["night ly"].projects == {'o"ps': {"reader"}}
    assert list(found) == ["alice", "night ly"]
    assert without_account(COMMENTED, "f", "nobody") == COMMENTED
    assert list(accounts.parse(with_account("", "f", "a.b", "lab", ["member"]), "f")) == ["a.b"]


def test_accounts_written_in_another_way_are_left_to_a_person() -> None:
    inline = '[users]\nalice = { project = "lab", roles = [] }\n'
    with pytest.raises(UserFileRefused, match=r"edit users\.alice there by hand"):
        without_account(inline, "f", "alice")
    assert "bob" in with_account(inline, "f", "bob", "lab", [])


def test_a_comment_above_another_users_account_stays_when_one_goes() -> None:
    text = '# all\n[users.alice]\nproject = "lab"\nroles = []\n\n# until May\n[users.bob]\nproject = "x"\nroles = []\n'
    kept = '# all\n# until May\n[users.bob]\nproject = "x"\nroles = []\n'
    assert without_account(text, "accounts.toml", "alice") == kept
