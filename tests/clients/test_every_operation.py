"""Every operation on images of openstacksdk and python-glanceclient, and one line through the `openstack` program."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from httpapi.identity.passwords import hash_of
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.clients
BIN = Path(__file__).parents[2] / ".clients" / "bin"
PROGRAMS = Path(__file__).parent / "programs"
DATA = random.Random(2).randbytes(1_500_000) + bytes(1_000_000) + b"odd tail"
LOGINS = ["alice", "wonderland", "bob", "builder", "root", "of all", "rita", "reads"]
ACCOUNTS = """
[users.alice]
project = "lab"
roles = ["member"]
[users.bob]
project = "shed"
roles = ["member"]
[users.root]
project = "cloud"
roles = ["admin"]
[users.rita]
project = "lab"
roles = ["reader"]
"""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    path.write_bytes(DATA)
    return path


@pytest.fixture(scope="module")
def none(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    with ServeProcess(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    files = tmp_path_factory.mktemp("users")
    users = zip(LOGINS[::2], LOGINS[1::2], strict=True)
    (files / "htpasswd").write_text("".join(f"{user}:{hash_of(password, cost=4)}\n" for user, password in users))
    (files / "accounts.toml").write_text(ACCOUNTS)
    variables = {"DRYSTONE_IDENTITY": "basic", "DRYSTONE_IDENTITY_FILE": str(files / "htpasswd")}
    with ServeProcess(tmp_path_factory.mktemp("data"), **variables) as running:
        yield running


@pytest.mark.parametrize("identity", ["none", "basic"])
@pytest.mark.parametrize(("program", "path"), [("sdk.py", "/v2"), ("glance.py", "")])
def test_every_operation_of_the_library(
    request: pytest.FixtureRequest, disk: Path, identity: str, program: str, path: str
) -> None:
    server: ServeProcess = request.getfixturevalue(identity)
    logins = LOGINS if identity == "basic" else []
    endpoint = f"http://127.0.0.1:{server.port}{path}"
    done = run([BIN / "python", "-W", "ignore", PROGRAMS / program, endpoint, disk, *logins])
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=clean)


def test_every_operation_on_metadata_definitions(none: ServeProcess) -> None:
    done = run([BIN / "python", "-W", "ignore", PROGRAMS / "definitions.py", f"http://127.0.0.1:{none.port}"])
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr

    def openstack(*words: str) -> str:
        login = ["--os-auth-type", "none", "--os-endpoint", f"http://127.0.0.1:{none.port}/v2"]
        done = run([BIN / "openstack", *login, "image", "metadef", *words])
        assert done.returncode == 0, done.stderr
        return done.stdout

    openstack("namespace", "create", "--public", "--description", "by hand", "OS::Cli")
    listed = json.loads(openstack("namespace", "list", "-f", "json"))
    assert listed == [{"namespace": "OS::Cli"}]
    openstack("namespace", "delete", "OS::Cli")


def test_one_line_through_the_openstack_program(basic: ServeProcess, disk: Path, tmp_path: Path) -> None:
    def openstack(*words: str | Path) -> str:
        endpoint = f"http://127.0.0.1:{basic.port}/v2"
        login = ["--os-auth-type", "http_basic", "--os-endpoint", endpoint]
        login += ["--os-username", LOGINS[0], "--os-password", LOGINS[1]]
        done = run([BIN / "openstack", *login, "image", *words])
        assert done.returncode == 0, done.stderr
        return done.stdout

    create: list[str | Path] = ["create", "--disk-format", "raw", "--container-format", "bare", "--file", disk]
    made = json.loads(openstack(*create, "--property", "hw:a.b=x", "--tag", "one", "line", "-f", "json"))["id"]
    properties = ["--property", "trait:X=required", "--property", "empty=", "--tag", "two", "--min-disk", "3"]
    openstack("set", "--name", "renamed", *properties, made)
    openstack("unset", "--property", "hw:a.b", "--tag", "one", made)
    shown = json.loads(openstack("show", "renamed", "-f", "json"))
    assert (shown["id"], shown["tags"], shown["min_disk"]) == (made, ["two"], 3)
    assert (shown["properties"]["trait:X"], shown["properties"]["empty"]) == ("required", "")
    assert "hw:a.b" not in shown["properties"]
    openstack("set", "--deactivate", made)
    assert json.loads(openstack("list", "--status", "deactivated", "-f", "json"))[0]["ID"] == made
    openstack("set", "--activate", made)
    assert json.loads(openstack("member", "list", made, "-f", "json")) == []
    openstack("save", "--file", tmp_path / "back", made)
    assert (tmp_path / "back").read_bytes() == DATA
    openstack("delete", made)
