"""Nova's and Cinder's own code for images against this service with the real Keystone: `make test-nova-cinder`.

Both come from `.nova`, an environment of its own, as libraries; each runs a program of `programs/`, for users whose
requests it makes with a service's token beside theirs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.show.server import Server, environment
from tests.kit.real_keystone import REGION, Keystone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.real_keystone import Login

HERE: Final = Path(__file__).parent
PYTHON: Final = HERE.parents[1] / ".nova" / "bin" / "python"
SIZE: Final = 8 << 20
CHANGED: Final = 128 << 10
_PROTECTION: Final = """
[^billing_]
create = service
read = @
update = service
delete = service
[.*]
create = @
read = @
update = @
delete = @
"""


def outcomes(room: Path) -> Iterator[tuple[str, str, int | None]]:
    """For each program its name, what went wrong, and, of Nova's, how many bytes of the snapshot were new."""
    home, work = room / "keystone", room / "work"
    for made in (home, work):
        made.mkdir(parents=True)
    (room / "protection.ini").write_text(_PROTECTION, encoding="utf-8")
    disk = bytes(range(256)) * (SIZE >> 8)
    (work / "disk").write_bytes(disk)
    (work / "next").write_bytes(b"x" * CHANGED + disk[CHANGED:])
    with Keystone(home) as keystone:
        settings = {
            "identity": "keystone",
            "keystone_auth_url": keystone.url,
            "keystone_password": keystone.service.password,
            "property_protection_file": room / "protection.ini",
        }
        with Server(room / "data", settings=settings) as server:
            keystone.endpoint(server.url)
            member = keystone.login("member", "machines", "member")
            other = keystone.login("other", "elsewhere", "member")
            users = {"member": _user(keystone, member, server.url), "other": _user(keystone, other, server.url)}
            (work / "users.json").write_text(json.dumps(users), encoding="utf-8")
            for name in ("nova", "cinder"):
                service = keystone.login(name, "service", "service")
                (room / f"{name}.conf").write_text(_configuration(keystone, service), encoding="utf-8")
                wrong = _run(name, room)
                new = None if wrong or name != "nova" else int((work / "new-bytes").read_text(encoding="utf-8"))
                yield name, wrong, new


def _user(keystone: Keystone, login: Login, url: str) -> dict[str, Any]:
    endpoint = {"region": REGION, "publicURL": url, "internalURL": url, "adminURL": url}
    return {
        "user": login.user_id,
        "project": login.project_id,
        "token": keystone.token(login),
        "roles": ["member", "reader"],
        "catalog": [{"type": "image", "name": "glance", "endpoints": [endpoint]}],
    }


def _configuration(keystone: Keystone, service: Login) -> str:
    return f"""[DEFAULT]
use_stderr = true
auth_strategy = keystone
[glance]
region_name = {REGION}
valid_interfaces = public
[service_user]
send_service_user_token = true
auth_type = password
auth_url = {keystone.url}
username = {service.name}
password = {service.password}
user_domain_name = Default
project_name = {service.project}
project_domain_name = Default
"""


def _run(name: str, room: Path) -> str:
    program = HERE / "programs" / f"{name}.py"
    command: list[str | Path] = [PYTHON, "-P", "-W", "ignore", program, room / f"{name}.conf", room / "work"]
    done = subprocess.run(
        command, cwd=room, env=environment({}), capture_output=True, text=True, check=False, timeout=300
    )
    return "" if done.returncode == 0 and done.stdout.endswith("done\n") else done.stderr[-3000:] or done.stdout


if __name__ == "__main__":
    if not PYTHON.exists():
        sys.exit("Nova is missing: run `make test-nova-cinder`")
    bad = False
    with tempfile.TemporaryDirectory() as directory:
        for program, fault, changed in outcomes(Path(sys.argv[1] if sys.argv[1:] else directory)):
            size = "" if changed is None else f", {changed} bytes of the snapshot are new"
            print(f"{program}: {fault or f'done{size}'}", flush=True)
            bad = bad or bool(fault)
    sys.exit(1 if bad else 0)
