"""`drystone login`, `logout` and `user`, and a server with identity basic between them."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from catalog.usecases.services import Services
from httpapi.cli.root import run
from httpapi.identity.basic import BasicIdentity
from httpapi.identity.passwords import hash_of, is_right
from httpapi.identity.users import UserFiles
from tests.kit.authority import Authority
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.new_catalog import new_catalog
from tests.kit.running_server import RunningServer
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kit.small_server import SmallServer

    Drystone = Callable[..., tuple[int, str, str]]

PROGRAM = (sys.executable, "-c", "from httpapi.cli.root import main; main()")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def drystone(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Drystone:
    """Runs a verb in a home of its own; `stdin` is what it reads."""
    for name in [name for name in os.environ if name.startswith(("OS_", "DRYSTONE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(arguments)
        out, err = capfd.readouterr()
        assert "wonder" not in out + err
        return code, out, err

    return call


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that alice may use, with the password `wonderland`."""
    (tmp_path / "htpasswd").write_text(f"alice:{hash_of('wonderland', cost=4)}\n")
    (tmp_path / "accounts.toml").write_text('[users.alice]\nprojects = {lab = ["member"], ops = ["member"]}\n')
    for name in ("htpasswd", "accounts.toml"):
        (tmp_path / name).chmod(0o600)
    database = new_catalog(tmp_path / "catalog.sqlite")
    services = Services(database=database, blocks=MemoryBlocks())
    identity = BasicIdentity(UserFiles(tmp_path / "htpasswd"))
    with RunningServer(services, identity=identity) as running:
        yield running
    database.close()


def url_of(server: RunningServer) -> str:
    return f"http://127.0.0.1:{server.port}"


def credentials(tmp_path: Path) -> Path:
    return tmp_path / ".config/drystone/credentials.toml"


def test_a_login_is_tried_kept_used_and_forgotten(guarded: RunningServer, drystone: Drystone, tmp_path: Path) -> None:
    url = url_of(guarded)
    assert "log in with `drystone login`" in drystone("--endpoint", url, "ls")[2]
    code, out, err = drystone("login", url + "/v2", "--user", "alice", "--password-stdin", stdin=b"wonderland\n")
    assert (code, out) == (0, "")
    assert err == f"alice is logged in to {url}; the login is kept in {credentials(tmp_path)}\n"
    assert stat.S_IMODE(credentials(tmp_path).stat().st_mode) == 0o600
    assert drystone("ls") == (0, "", "")
    code, _, err = drystone("ls", "-v")
    assert err == f"drystone: asking {url} as alice (the login stored in {credentials(tmp_path)})\n"
    shown = json.loads(drystone("login", "--show", "--json")[1])
    assert (shown["endpoint"], shown["user"], shown["project"]) == (url, "alice", None)
    assert drystone("logout") == (0, "", f"the login for {url} is forgotten\n")
    code, _, err = drystone("logout")
    assert (code, err) == (1, "drystone: no login is in use; --all forgets those of other services\n")


def test_a_wrong_password_is_not_kept(guarded: RunningServer, drystone: Drystone, tmp_path: Path) -> None:
    code, _, err = drystone("login", url_of(guarded), "--user", "alice", "--password-stdin", stdin=b"wrong")
    assert code == 1
    assert "user or password is wrong; nothing is kept" in err
    assert not credentials(tmp_path).exists()


def test_a_project_is_part_of_the_login(guarded: RunningServer, drystone: Drystone, tmp_path: Path) -> None:
    login = ("login", url_of(guarded), "--user", "alice", "--password-stdin")
    assert "name one of lab, ops" in drystone(*login, "--project", "garden", stdin=b"wonderland")[2]
    assert drystone(*login, "--project", "ops", stdin=b"wonderland")[0] == 0
    (tmp_path / "disk").write_bytes(b"bytes")
    assert drystone("push", "disk")[0] == 0
    assert json.loads(drystone("show", "disk", "--json")[1])["owner"] == "ops"


def test_a_service_without_identity_is_kept_without_a_login(small: SmallServer, drystone: Drystone) -> None:
    small.add("disk")
    code, _, err = drystone("login", small.url)
    assert (code, err) == (0, f"{small.url} asks for no login; it is what the verbs use from now on\n")
    assert "disk" in drystone("ls")[1]
    assert "leave --user out" in drystone("login", small.url, "--user", "alice")[2]


def test_where_nobody_can_be_asked_the_options_are_named(guarded: RunningServer, drystone: Drystone) -> None:
    assert "give it with --user" in drystone("login", url_of(guarded))[2]
    assert "with --password-stdin" in drystone("login", url_of(guarded), "--user", "alice")[2]
    for stdin, said in ((b"", "holds no password"), (b"\xff", "is not UTF-8"), (b"x" * 5000, "more than 4096 bytes")):
        login = ("login", url_of(guarded), "--user", "alice", "--password-stdin")
        assert said in drystone(*login, stdin=stdin)[2]


def test_no_verb_sends_a_password_in_the_clear_unless_told_to(
    drystone: Drystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRYSTONE_USER", "alice")
    monkeypatch.setenv("DRYSTONE_PASSWORD", "wonderland")
    code, _, err = drystone("--endpoint", "http://192.0.2.1:1", "ls")
    assert code == 1
    assert "use https, or --insecure" in err


def test_a_file_that_others_can_read_is_refused(guarded: RunningServer, drystone: Drystone, tmp_path: Path) -> None:
    drystone("login", url_of(guarded), "--user", "alice", "--password-stdin", stdin=b"wonderland")
    credentials(tmp_path).chmod(0o644)
    code, _, err = drystone("ls")
    assert code == 1
    assert f"`chmod 600 {credentials(tmp_path)}`" in err


def test_the_password_is_asked_for_without_an_echo(guarded: RunningServer, tmp_path: Path) -> None:
    main_end, process_end = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "login", url_of(guarded)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(tmp_path),
            "USER": "alice",
            "TERM": "xterm",
        },
        stdin=process_end,
        stdout=process_end,
        stderr=process_end,
        start_new_session=True,
    )
    os.close(process_end)
    seen = b""
    for prompt, answer in ((b"User [alice]: ", b"\n"), (b"Password of alice", b"wonderland\n"), (b"is kept in", b"")):
        while prompt not in seen:
            assert select.select([main_end], [], [], 30)[0], seen
            seen += os.read(main_end, 65536)
        os.write(main_end, answer)
    assert process.wait(30) == 0
    os.close(main_end)
    assert b"wonder" not in seen


def test_users_are_made_listed_changed_and_removed(drystone: Drystone, tmp_path: Path) -> None:
    files = ("--file", "etc/htpasswd")
    (tmp_path / "etc").mkdir()
    add = ("user", "add", "alice", *files, "--password-stdin")
    assert drystone(*add, "--project", "lab", "--role", "Member", "--role", "reader", stdin=b"wonder\n")[0] == 0
    for name in ("htpasswd", "accounts.toml"):
        assert stat.S_IMODE((tmp_path / "etc" / name).stat().st_mode) == 0o600
    assert drystone("user", "ls", *files) == (0, "alice\tlab\tmember, reader\n", "")
    assert "--replace sets a new password" in drystone(*add, stdin=b"x")[2]
    assert drystone(*add, "--replace", stdin=b"wonder two\n")[0] == 0
    hashed = (tmp_path / "etc/htpasswd").read_text().strip().partition(":")[2]
    assert is_right(b"wonder two", hashed)
    assert drystone("user", "ls", *files)[1] == "alice\tlab\tmember, reader\n"
    assert drystone("user", "add", "bob", *files, "--password-stdin", stdin=b"x")[0] == 0
    listed = json.loads(drystone("user", "ls", *files, "--json")[1])
    assert listed[1] == {"name": "bob", "project": "default", "projects": {"default": ["member"]}}
    assert drystone("user", "rm", "alice", *files) == (0, "", "alice may log in no more\n")
    assert drystone("user", "ls", *files)[1] == "bob\tdefault\tmember\n"
    assert "`drystone user ls` lists who is" in drystone("user", "rm", "alice", *files)[2]


def test_users_that_cannot_be_are_refused_before_anything_is_written(drystone: Drystone, tmp_path: Path) -> None:
    files = ("--file", "htpasswd", "--password-stdin")
    assert drystone("user", "add", "a:b", *files, stdin=b"x")[0] == 2
    assert "bcrypt looks at 72 only" in drystone("user", "add", "a", *files, stdin=b"x" * 73)[2]
    assert "leave --replace out" in drystone("user", "add", "a", *files, "--replace", stdin=b"x")[2]
    assert drystone("user", "add", "a", "--password-stdin", stdin=b"x")[0] == 2
    assert not (tmp_path / "htpasswd").exists()


def test_several_projects_are_not_made_one(drystone: Drystone, guarded: RunningServer, tmp_path: Path) -> None:
    add = ("user", "add", "alice", "--file", "htpasswd", "--replace", "--password-stdin")
    assert "edit users.alice" in drystone(*add, "--role", "admin", stdin=b"x")[2]
    assert drystone(*add, stdin=b"x")[0] == 0
    assert "ops" in (tmp_path / "accounts.toml").read_text()


def test_the_servers_configuration_names_the_files(drystone: Drystone, tmp_path: Path) -> None:
    (tmp_path / "drystone.toml").write_text(
        'identity = "basic"\nidentity_file = "users"\nidentity_accounts = "who.toml"\n'
    )
    config = ("--config", "drystone.toml")
    assert drystone("user", "add", "alice", *config, "--password-stdin", stdin=b"x")[0] == 0
    assert (tmp_path / "who.toml").exists()
    assert drystone("user", "ls", *config)[1] == "alice\tdefault\tmember\n"


def test_a_server_takes_a_new_user_while_it_runs(drystone: Drystone, tmp_path: Path) -> None:
    add = ("user", "add", "alice", "--file", "htpasswd", "--password-stdin")
    assert drystone(*add, stdin=b"wonderland")[0] == 0
    variables = {"DRYSTONE_IDENTITY": "basic", "DRYSTONE_IDENTITY_FILE": str(tmp_path / "htpasswd")}
    with ServeProcess(tmp_path / "data", **variables) as server:
        assert f"identity basic: 1 user in {tmp_path / 'htpasswd'}" in server.said
        assert server.call("GET", "/v2/images")[0] == 401
        login = ("login", f"http://127.0.0.1:{server.port}", "--password-stdin", "--user")
        assert drystone(*login, "alice", stdin=b"wonderland")[0] == 0
        assert drystone("user", "add", "bob", "--file", "htpasswd", "--password-stdin", stdin=b"wonder")[0] == 0
        while drystone(*login, "bob", stdin=b"wonder")[0] != 0:
            pass
        assert drystone("ls")[0] == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--identity", "basic"), "`drystone user add NAME --file FILE` makes one"),
        (("--identity", "basic", "--identity-file", "none"), "cannot be read"),
        (
            ("--identity", "basic", "--identity-file", "htpasswd", "--listen", "0.0.0.0:0"),
            "tls_certificate and tls_key",
        ),
    ],
)
def test_a_server_that_would_be_unsafe_does_not_start(
    drystone: Drystone, guarded: RunningServer, flags: tuple[str, ...], said: str
) -> None:
    code, _, err = drystone("serve", "--data", "served", *flags)
    assert code == 1
    assert said in err
    assert len(err.splitlines()) == 1


def test_over_tls_the_authority_is_kept_with_the_login(drystone: Drystone, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "htpasswd").write_text(f"alice:{hash_of('wonderland', cost=4)}\n")
    (tmp_path / "accounts.toml").write_text('[users.alice]\nproject = "lab"\nroles = ["member"]\n')
    (tmp_path / "disk").write_bytes(bytes(1 << 20) + b"tail")
    database = new_catalog(tmp_path / "catalog.sqlite")
    services = Services(database=database, blocks=MemoryBlocks())
    identity = BasicIdentity(UserFiles(tmp_path / "htpasswd"))
    with RunningServer(services, identity=identity, tls=authority.sign().context()) as server:
        login = ("login", f"https://127.0.0.1:{server.port}", "--user", "alice", "--password-stdin")
        assert "with --cacert FILE or DRYSTONE_CACERT" in drystone(*login, stdin=b"wonderland")[2]
        assert drystone(*login, "--cacert", authority.path.name, stdin=b"wonderland")[0] == 0
        assert drystone("push", "disk", "-q")[0] == 0
        assert drystone("pull", "disk", "back", "-q")[0] == 0
        assert (tmp_path / "back").read_bytes() == (tmp_path / "disk").read_bytes()
    database.close()


def test_a_user_who_was_made_while_the_password_was_typed_is_not_overwritten(
    drystone: Drystone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicker = hash_of("quicker", cost=4)

    def typed(_name: str, *, from_stdin: bool) -> str:
        assert not from_stdin
        (tmp_path / "htpasswd").write_text(f"alice:{quicker}\n")
        return hash_of("slower", cost=4)

    monkeypatch.setattr("httpapi.cli.user.add.ask_new_password", typed)
    code, _, err = drystone("user", "add", "alice", "--file", "htpasswd")
    assert code == 1
    assert "--replace sets a new password" in err
    assert quicker in (tmp_path / "htpasswd").read_text()
