"""The stock clients with a user and a password, against a real server with identity basic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from httpapi.identity.passwords import hash_of
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.clients
BIN = Path(__file__).parents[2] / ".clients" / "bin"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    files = tmp_path_factory.mktemp("users")
    (files / "htpasswd").write_text(f"alice:{hash_of('wonderland', cost=8)}\n")
    (files / "accounts.toml").write_text('[users.alice]\nproject = "lab"\nroles = ["member"]\n')
    variables = {"DRYSTONE_IDENTITY": "basic", "DRYSTONE_IDENTITY_FILE": str(files / "htpasswd")}
    with ServeProcess(tmp_path_factory.mktemp("data"), **variables) as running:
        yield running


def openstack(directory: Path, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    command = [BIN / "openstack", *words]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, env=clean | variables)


def test_openstack_logs_in_by_flags(server: ServeProcess, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(b"some bytes" * 100_000)
    login = ("--os-auth-type", "http_basic", "--os-endpoint", f"http://127.0.0.1:{server.port}/v2")
    user = ("--os-username", "alice", "--os-password")
    create = ("image", "create", "--disk-format", "raw", "--container-format", "bare", "--file", "disk.raw", "stock")
    made = openstack(tmp_path, *login, *user, "wonderland", *create, "-f", "json")
    assert made.returncode == 0, made.stderr
    assert (json.loads(made.stdout)["owner"], json.loads(made.stdout)["status"]) == ("lab", "active")
    refused = openstack(tmp_path, *login, *user, "wrong", "image", "list")
    assert refused.returncode != 0
    assert "Wrong user or password" in refused.stderr


def test_one_clouds_yaml_serves_both_clients(server: ServeProcess, tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text(
        "clouds: {lab: {auth_type: http_basic, auth: {username: alice, password: wonderland, "
        f'endpoint: "http://127.0.0.1:{server.port}/v2"}}}}}}\n'
    )
    stock = openstack(tmp_path, "image", "list", "-f", "json", OS_CLOUD="lab")
    assert stock.returncode == 0, stock.stderr
    ours = subprocess.run(
        [sys.executable, "-m", "httpapi", "--os-cloud", "lab", "ls", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(BIN.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ours.returncode == 0, ours.stderr
    assert {image["ID"] for image in json.loads(stock.stdout)} == {image["id"] for image in json.loads(ours.stdout)}
