from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.disk_files import disk_file
from tests.kit.image_service import image_service
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import ssl
from httpapi.client.quick_loading import load_aiohttp
load_aiohttp()
import aiohttp.connector
print(len(aiohttp.connector._SSL_CONTEXT_VERIFIED.get_ca_certs()), aiohttp.connector._SSL_CONTEXT_VERIFIED.verify_mode)
context = ssl.create_default_context()
print("set_default_verify_paths" in vars(ssl.SSLContext), context.cert_store_stats() == expected())
"""


def test_what_aiohttp_makes_for_itself_trusts_nobody_and_ours_is_as_ever() -> None:
    before = "import ssl\nkept = ssl.create_default_context().cert_store_stats()\nexpected = lambda: kept\n"
    done = subprocess.run([sys.executable, "-c", before + PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["0 2", "False True"]


PUSH = """
import sys
from httpapi.cli.root import run
from httpapi.client import names_cache
names_cache.IN_MEMORY, names_cache.QUIET_SECONDS = frozenset(), 0
assert run(sys.argv[1:]) == 0
heavy = {"numpy", "aiohttp", "asyncio", "rich", "httpapi.client.api", "httpapi.client.disk_formats.served"}
print(sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("name", ["disk.raw", "plain.qcow2"])
def test_the_push_of_an_unchanged_file_loads_nothing_heavy(data_root: Path, tmp_path: Path, name: str) -> None:
    """Neither the tools of a network, nor what reads a guest's disk: it is to cost next to nothing."""
    disk = tmp_path / name
    disk.write_bytes(disk_file(name) if name.endswith("qcow2") else random.Random(1).randbytes(1 << 20))
    with image_service(data_root) as service, RunningServer(service.services) as server:

        def push() -> tuple[Any, list[str]]:
            command = ["push", str(disk), "--name", "vm", "--json", "--endpoint", f"http://127.0.0.1:{server.port}"]
            done = subprocess.run(
                [sys.executable, "-c", PUSH, *command],
                env=os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")},
                capture_output=True,
                text=True,
                check=True,
            )
            *result, loaded = done.stdout.splitlines()
            return json.loads("".join(result)), json.loads(loaded.replace("'", '"'))

        first, loaded = push()
        assert "aiohttp" in loaded
        again, loaded = push()
        assert (again["sent"], again["unchanged"], again["parent"]) == (0, first["size"], first["id"])
        assert loaded == []
