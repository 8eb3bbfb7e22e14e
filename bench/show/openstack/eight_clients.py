"""Eight clients at once through the real Keystone: no answer of 5xx, and Keystone is hardly asked."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final
from urllib.request import urlopen

from bench.places import CLIENTS, ROOT
from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from bench.show.server import Server, environment
from tests.kit.real_keystone import PYTHON, Keystone

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

KINDS: Final = ("sdk", "sdk", "sdk", "sdk", "glance", "glance", "glance", "openstack")
_SECONDS: Final = 600
_SHORT_SECONDS: Final = 90
_CACHED_PERCENT: Final = 95
_PROGRAM: Final = ROOT / "tests" / "clients" / "programs" / "rounds.py"
_REQUESTS: Final = re.compile(r'^drystone_requests_total\{.*status="(\w+)"\} (\S+)$', re.MULTILINE)
_VALIDATIONS: Final = re.compile(r'^drystone_token_validations_total\{result="([\w-]+)"\} (\S+)$', re.MULTILINE)


def settings_for(keystone: Keystone) -> dict[str, object]:
    """A server's, to ask this Keystone."""
    return {
        "identity": "keystone",
        "keystone_auth_url": keystone.url,
        "keystone_password": keystone.service.password,
        "metrics": "open",
    }


@check("openstack", "eight-clients", "Eight clients at once through Keystone: no 5xx, tokens come from memory.")
def eight_clients(room: Room) -> Generator[Figure, None, None]:
    seconds = _SHORT_SECONDS if room.short else _SECONDS
    if not PYTHON.exists() or not CLIENTS.exists():
        yield holds("Keystone and the stock clients are there: make keystone clients", ok=False)
        return
    (room.work / "keystone").mkdir()
    with (
        Keystone(room.work / "keystone") as keystone,
        Server(room.work / "data", settings=settings_for(keystone)) as server,
    ):
        keystone.endpoint(server.url)
        with ExitStack() as running:
            clients = [
                running.enter_context(_client(keystone, room.work, kind, seconds, number))
                for number, kind in enumerate(KINDS)
            ]
            said = [client.communicate(timeout=seconds + 120) for client in clients]
        with urlopen(f"{server.url}/metrics", timeout=60) as response:
            figures = response.read().decode()
        statuses, results = _counted(_REQUESTS, figures), _counted(_VALIDATIONS, figures)
    reports: list[dict[str, Any]] = [
        json.loads(out) if out else {"rounds": 0, "wrong": [errors[-500:]]} for out, errors in said
    ]
    wrong = tuple(line for report in reports for line in report["wrong"])
    rounds = ", ".join(f"{kind} {report['rounds']}" for kind, report in zip(KINDS, reports, strict=True))
    yield told(f"requests by {len(KINDS)} clients in {seconds} s", f"{statuses.total()}", (f"rounds: {rounds}",))
    yield at_least("rounds of the client with the fewest", min(report["rounds"] for report in reports), 3, "rounds")
    failed = sum(count for status, count in statuses.items() if status[0] not in "1234")
    yield at_most("answers of 5xx, or none", failed, 0, "answers", (str(dict(sorted(statuses.items()))),))
    yield at_most("what a client found wrong", len(wrong), 0, "", wrong[:20])
    asked = sum(results[name] for name in ("cached", "cached-refusal", "shared", "valid", "refused", "failed"))
    share = 100 * results["cached"] / max(asked, 1)
    yield at_least("tokens known without asking Keystone", share, _CACHED_PERCENT, "%", (str(dict(results)),))


def _client(keystone: Keystone, work: Path, kind: str, seconds: int, number: int) -> subprocess.Popen[str]:
    """One client at work, as a member of a project of its own."""
    variables = keystone.variables(keystone.login(f"client{number}", f"project{number}", "member"))
    return subprocess.Popen(
        [CLIENTS / "bin" / "python", "-W", "ignore", _PROGRAM, kind, str(seconds), str(number)],
        cwd=work,
        env=environment(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _counted(pattern: re.Pattern[str], figures: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    for name, value in pattern.findall(figures):
        counted[name] += int(float(value))
    return counted
