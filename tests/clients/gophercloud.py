"""gophercloud, which Terraform and Packer are built on, against this service with the real Keystone.

`make test-gophercloud` runs its own acceptance tests of images and what both programs do with images, call by call.
Debian has the library as source, so the tests are compiled here.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.show.server import Server, environment
from bench.tools import find
from tests.kit.real_keystone import Keystone

if TYPE_CHECKING:
    from collections.abc import Iterator

GOPATH: Final = Path("/usr/share/gocode")
LIBRARY: Final = "github.com/gophercloud/gophercloud"
HERE: Final = Path(__file__).parent
SIZE: Final = 3 << 20
# Those that fetch an image from the Internet, or ask for a task, wait for ways of import.
_NEEDS_IMPORT: Final = frozenset({"TestImageStage", "TestCreateImport", "TestTaskCreate"})
_SUITES: Final = (("Terraform and Packer", "."), ("its own tests", f"{LIBRARY}/acceptance/openstack/imageservice/v2"))


def is_here() -> bool:
    """Whether Go and the library are installed."""
    return find("go") is not None and (GOPATH / "src" / LIBRARY).is_dir()


def outcomes(room: Path) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """For each suite its name, the tests that passed, and what the failed ones said."""
    home = room / "keystone"
    home.mkdir(parents=True)
    disk = room / "disk"
    disk.write_bytes(bytes(range(256)) * (SIZE >> 8) + b"odd tail")
    with Keystone(home) as keystone:
        settings = {
            "identity": "keystone",
            "keystone_auth_url": keystone.url,
            "keystone_password": keystone.service.password,
        }
        with Server(room / "data", settings=settings) as server:
            keystone.endpoint(server.url)
            user = keystone.login("terraform", "machines", "member")
            other = keystone.login("packer", "elsewhere", "member")
            _some_image(server.port, keystone.token(user))
            variables = {
                **keystone.variables(user),
                # This version of the library has one domain for user and project.
                "OS_DOMAIN_ID": "default",
                "OTHER_USERNAME": other.name,
                "OTHER_PASSWORD": other.password,
                "OTHER_PROJECT_ID": other.project_id,
                "DISK": str(disk),
                "GO111MODULE": "off",
                "GOPATH": str(GOPATH),
                "GOCACHE": str(HERE.parents[1] / ".gocache"),
                "GOFLAGS": "",
            }
            for name, package in _SUITES:
                passed, wrong = _run(package, variables)
                yield name, passed, wrong


def _some_image(port: int, token: str) -> None:
    """Its own tests expect a cloud that has images."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"X-Auth-Token": token, "Content-Type": "application/json"}
    connection.request("POST", "/v2/images", json.dumps({"name": "some image"}), headers)
    assert connection.getresponse().status == 201
    connection.close()


def _run(package: str, variables: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    go = find("go") or "go"
    listed = _go([go, "test", "-tags", "acceptance", "-list", ".", package], variables)
    tests = [line for line in listed.stdout.splitlines() if line.startswith("Test") and line not in _NEEDS_IMPORT]
    if not tests:
        return (), (listed.stdout + listed.stderr,)
    chosen = f"^({'|'.join(tests)})$"
    done = _go([go, "test", "-tags", "acceptance", "-count", "1", "-json", "-run", chosen, package], variables)
    said: dict[str, str] = {}
    ended: dict[str, str] = {}
    for line in done.stdout.splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        test = event.get("Test", "")
        if event.get("Action") == "output":
            said[test] = said.get(test, "") + event["Output"]
        elif event.get("Action") in ("pass", "fail", "skip") and test:
            ended[test] = event["Action"]
    passed = tuple(test for test in tests if ended.get(test) == "pass")
    wrong = tuple(f"{test}: {said.get(test, done.stderr)[-2000:]}" for test in tests if test not in passed)
    return passed, wrong


def _go(command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=HERE / "programs" / "gophercloud",
        env=environment(variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


if __name__ == "__main__":
    if not is_here():
        sys.exit("gophercloud is missing: run `make test-gophercloud`")
    bad = False
    with tempfile.TemporaryDirectory() as directory:
        for suite, good, faults in outcomes(Path(directory)):
            print(f"{suite}: {len(good)} passed, {len(faults)} failed", *faults, sep="\n", flush=True)
            bad = bad or bool(faults) or not good
    sys.exit(1 if bad else 0)
