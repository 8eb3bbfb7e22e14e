"""The stock clients with the real Keystone: each logs in there, and finds the service by the catalog."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kit.real_keystone import REGION
from tests.kit.serve_process import ROOT, ServeProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.kit.real_keystone import Keystone, Login

pytestmark = pytest.mark.clients
BIN = ROOT / ".clients" / "bin"
PROGRAMS = Path(__file__).parents[1] / "programs"
DATA = random.Random(3).randbytes(1_500_000) + bytes(1_000_000) + b"odd tail"


@pytest.fixture(scope="module")
def logins(keystone: Keystone) -> list[Login]:
    """As the programs want them: a member, one of another project, an admin, a reader of the first one's."""
    people = {"alice": ("lab2", "member"), "bob": ("shed2", "member"), "root": ("cloud", "admin")}
    people["rita"] = ("lab2", "reader")
    return [keystone.login(name, *places) for name, places in people.items()]


@pytest.fixture(scope="module")
def settings(keystone: Keystone) -> dict[str, str]:
    return {
        "DRYSTONE_IDENTITY": "keystone",
        "DRYSTONE_KEYSTONE_AUTH_URL": keystone.url,
        "DRYSTONE_KEYSTONE_PASSWORD": keystone.service.password,
        "DRYSTONE_KEYSTONE_TIMEOUT": "60",
    }


@pytest.fixture(scope="module")
def running(
    keystone: Keystone, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    with ServeProcess(tmp_path_factory.mktemp("data"), **settings) as server:
        # No version in it: that is discovered.
        keystone.endpoint(f"http://127.0.0.1:{server.port}")
        yield server


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    path.write_bytes(DATA)
    return path


def run(command: list[str | Path], **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "DRYSTONE_"))}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=clean | variables)


@pytest.mark.parametrize("program", ["sdk.py", "glance.py"])
def test_every_operation_of_the_library_with_three_roles(
    running: ServeProcess, keystone: Keystone, logins: list[Login], disk: Path, program: str
) -> None:
    words = [word for login in logins for word in (login.name, login.password)]
    projects = {f"PROJECT_OF_{login.name.upper()}": login.project_id for login in logins}
    done = run(
        [BIN / "python", "-W", "ignore", PROGRAMS / program, "-", disk, *words], OS_AUTH_URL=keystone.url, **projects
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


class Openstack:
    """The `openstack` program as one user."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def __call__(self, *words: str | Path) -> str:
        done = run([BIN / "openstack", *words], **self._variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *words: str | Path) -> str:
        done = run([BIN / "openstack", *words], **self._variables)
        assert done.returncode, done.stdout
        return done.stderr


def test_a_line_through_the_openstack_program_with_three_roles(
    running: ServeProcess, keystone: Keystone, logins: list[Login], disk: Path, tmp_path: Path
) -> None:
    member, other, admin, reader = (Openstack(keystone.variables(login)) for login in logins)
    create: list[str | Path] = ["image", "create", "--disk-format", "raw", "--container-format", "bare", "--file", disk]
    made = json.loads(member(*create, "--property", "hw:a.b=x", "--tag", "one", "line", "-f", "json"))
    image = made["id"]
    assert (made["status"], made["owner"]) == ("active", logins[0].project_id)
    member("image", "set", "--name", "renamed", "--property", "trait:X=required", "--tag", "two", image)
    assert [each["ID"] for each in json.loads(reader("image", "list", "-f", "json"))] == [image]
    assert "403" in reader.refused("image", "set", "--name", "not mine", image)
    assert json.loads(other("image", "list", "-f", "json")) == []
    # These ask Keystone for the project first.
    member("image", "add", "project", image, logins[1].project_id)
    other("image", "set", "--accept", image)
    assert [each["ID"] for each in json.loads(other("image", "list", "--shared", "-f", "json"))] == [image]
    assert "403" in member.refused("image", "set", "--public", image)
    admin("image", "set", "--public", image)
    member("image", "save", "--file", tmp_path / "back", image)
    assert (tmp_path / "back").read_bytes() == DATA
    admin("image", "set", "--deactivate", image)
    # It says that the hash is wrong.
    member.refused("image", "save", "--file", tmp_path / "again", image)
    member("image", "delete", image)
    assert json.loads(admin("image", "list", "--name", "renamed", "-f", "json")) == []


def test_an_application_credential_and_a_token_log_the_openstack_program_in(
    running: ServeProcess, keystone: Keystone, logins: list[Login]
) -> None:
    credential = keystone.application_credential(logins[0], "program")
    by_credential = {
        "OS_AUTH_TYPE": "v3applicationcredential",
        "OS_AUTH_URL": keystone.url,
        "OS_APPLICATION_CREDENTIAL_ID": credential["id"],
        "OS_APPLICATION_CREDENTIAL_SECRET": credential["secret"],
    }
    made = json.loads(Openstack(by_credential)("image", "create", "by-credential", "-f", "json"))
    assert made["owner"] == logins[0].project_id
    by_token = {
        "OS_AUTH_TYPE": "v3token",
        "OS_AUTH_URL": keystone.url,
        "OS_TOKEN": keystone.token(logins[0]),
        "OS_PROJECT_ID": logins[0].project_id,
    }
    Openstack(by_token)("image", "delete", made["id"])


def test_config_check_reaches_keystone_as_the_service_user(
    keystone: Keystone, settings: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "httpapi", "config", "check", "--reach", "--data", str(tmp_path / "data")]
    told = settings | {"PYTHONPATH": str(ROOT)}
    assert run([*command], **told).returncode == 0
    wrong = run([*command], **told | {"DRYSTONE_KEYSTONE_PASSWORD": "wrong"})
    assert wrong.returncode == 1
    assert "Keystone refuses the user 'drystone'" in wrong.stderr
    weak = keystone.login("weak", "service", "reader")
    weaker = {"DRYSTONE_KEYSTONE_USERNAME": weak.name, "DRYSTONE_KEYSTONE_PASSWORD": weak.password}
    # It may ask about itself, so that cannot be found out beforehand.
    assert run([*command], **told | weaker).returncode == 0


def test_drystone_logs_in_as_the_stock_clients_do(
    running: ServeProcess, keystone: Keystone, logins: list[Login], disk: Path, tmp_path: Path
) -> None:
    member = logins[0]
    credential = keystone.application_credential(member, "ours")
    (tmp_path / "clouds.yaml").write_text(
        json.dumps(
            {
                "clouds": {
                    "by-password": {
                        "auth": {
                            "auth_url": keystone.url,
                            "username": member.name,
                            "password": member.password,
                            "project_name": member.project,
                            "user_domain_name": "Default",
                            "project_domain_name": "Default",
                        },
                        "region_name": REGION,
                    },
                    "by-credential": {
                        "auth_type": "v3applicationcredential",
                        "auth": {
                            "auth_url": keystone.url,
                            "application_credential_id": credential["id"],
                            "application_credential_secret": credential["secret"],
                        },
                    },
                }
            }
        )
    )
    token = {"OS_AUTH_TYPE": "v3token", "OS_AUTH_URL": keystone.url, "OS_TOKEN": keystone.token(member)}
    ours = [sys.executable, "-m", "httpapi"]
    told = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")}

    def drystone(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return run([*ours, *words], **told | variables)

    pushed = drystone("push", disk, "--name", "ours", OS_CLOUD="by-password")
    assert pushed.returncode == 0, pushed.stderr
    for variables in (
        {"OS_CLOUD": "by-credential"},
        keystone.variables(member),
        token | {"OS_PROJECT_ID": member.project_id},
    ):
        listed = drystone("ls", "--json", **variables)
        assert listed.returncode == 0, listed.stderr
        assert [image["name"] for image in json.loads(listed.stdout)] == ["ours"]
    assert drystone("ls", "--json", **keystone.variables(logins[1])).stdout.strip() == "[]"
    pulled = drystone("pull", "ours", tmp_path / "back", OS_CLOUD="by-credential")
    assert pulled.returncode == 0, pulled.stderr
    assert (tmp_path / "back").read_bytes() == DATA
    assert drystone("rm", "ours", **keystone.variables(logins[3])).returncode == 1
    assert drystone("rm", "ours", OS_CLOUD="by-password").returncode == 0
    wrong = drystone("ls", **keystone.variables(member) | {"OS_PASSWORD": "wrong"})
    assert wrong.returncode == 1
    assert "Keystone refuses the login" in wrong.stderr
    assert "log in by Keystone" in drystone("ls", "--endpoint", f"http://127.0.0.1:{running.port}").stderr
