"""The stock clients through the real Keystone, in three roles; and how long a revoked token is still let in."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final

from bench.show.main_job.tests import Selection, passed
from bench.show.openstack.eight_clients import settings_for
from bench.show.registry import Figure, Room, at_most, check, holds
from bench.show.server import Server
from tests.kit.real_keystone import PYTHON, Keystone

if TYPE_CHECKING:
    from collections.abc import Generator

_FOLDER: Final = "tests/clients/keystone"
_SELECTIONS: Final = (
    Selection("openstacksdk: every operation, three roles", (f"{_FOLDER}/test_clients.py",), "sdk"),
    Selection("python-glanceclient: every operation, three roles", (f"{_FOLDER}/test_clients.py",), "glance"),
    Selection("openstack: its lines, credentials and tokens", (f"{_FOLDER}/test_clients.py",), "program or config"),
    Selection("who comes in, and who does not any more", (f"{_FOLDER}/test_identity.py",)),
)
_REMEMBER: Final = 60.0
_SHORT_REMEMBER: Final = 10.0
_GIVEN_UP: Final = 200.0


@check("openstack", "keystone-clients", "Today's clients through Keystone in three roles; a revoked token is refused.")
def keystone_clients(room: Room) -> Generator[Figure, None, None]:
    if not PYTHON.exists():
        yield holds("Keystone is there: make keystone", ok=False)
        return
    if not room.short:
        # Where the short form is shown, in CI, `make test` has just run them.
        for number, selection in enumerate(_SELECTIONS):
            yield passed(selection, room.work / f"{number}.xml")
    remember = _SHORT_REMEMBER if room.short else _REMEMBER
    (room.work / "keystone").mkdir()
    with Keystone(room.work / "keystone") as keystone:
        settings = settings_for(keystone) | {"keystone_cache_time": remember}
        with Server(room.work / "data", settings=settings) as server:
            for what, pause in (("asked ten times a second", 0.1), ("asked once a second", 1.0)):
                seconds = _let_in(keystone, server, pause)
                yield at_most(f"a revoked token is let in for, {what}", seconds, remember, "s")
            yield at_most("and one that nobody used meanwhile", _let_in(keystone, server, remember), remember, "s")


def _let_in(keystone: Keystone, server: Server, pause: float) -> float:
    """Seconds after its revocation in which a token was let in, asked in such intervals; at most the second look's."""
    token = keystone.token(keystone.login("member", "lab", "member"))
    assert _status(server, token) == 200
    keystone.revoke(token)
    began = time.monotonic()
    last = 0.0
    while last < _GIVEN_UP:
        time.sleep(pause)
        asked = time.monotonic() - began
        if _status(server, token) == 401:
            return last
        last = asked
    return last


def _status(server: Server, token: str) -> int:
    request = urllib.request.Request(f"{server.url}/v2/images", headers={"X-Auth-Token": token})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
