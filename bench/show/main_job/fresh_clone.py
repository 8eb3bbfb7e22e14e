"""A fresh clone: `make serve` alone serves, `make test` alone passes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from bench.images import MIB, compressible_image
from bench.places import ROOT, free_port
from bench.show import client
from bench.show.registry import Figure, Room, check, holds, told
from bench.show.server import environment

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_INSTALLED_WITHIN = 600.0
# What the clone must not know of the environment that runs this.
_OURS = ("VIRTUAL_ENV", "PYTHONPATH", "PYTEST_ADDOPTS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "LISTEN", "DATA")


@check(
    "main-job",
    "fresh-clone",
    "On a fresh clone `make serve` alone serves and `make test` alone passes.",
    long_only=True,
)
def fresh_clone(room: Room) -> Generator[Figure, None, None]:
    clone, data = room.work / "clone", room.work / "kept-here"
    client.run(["git", "clone", "--quiet", str(ROOT), str(clone)])
    commit = client.run(["git", "-C", str(clone), "log", "-1", "--format=%h %s"]).strip()
    changed = len(client.run(["git", "-C", str(ROOT), "status", "--porcelain"]).splitlines())
    detail = (commit, f"{changed} files of this checkout are changed or new, and not in the clone")
    yield told("the clone", commit.split()[0], detail)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = room.work / "serve.log"
    started = time.monotonic()
    with log.open("wb") as out:
        command = ["make", "serve", f"LISTEN=127.0.0.1:{port}", f"DATA={data}"]
        process = subprocess.Popen(command, cwd=clone, env=_plain(), stdout=out, stderr=out, start_new_session=True)
    try:
        answered = _answers(url, process)
        end = tuple(log.read_text(errors="replace").splitlines()[-8:])
        took = f"{time.monotonic() - started:.0f} s from nothing to the first answer"
        yield holds("`make serve LISTEN=... DATA=...` serves there", answered, (took,) if answered else end)
        if answered:
            yield _round_trip(url, room.work)
            yield holds("the data lie where DATA says", (data / "format").exists(), (str(data),))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    done = subprocess.run(["make", "test"], cwd=clone, env=_plain(), capture_output=True, text=True, check=False)
    yield holds("`make test` passes there", done.returncode == 0, _gist(done.stdout, done.stderr))


def _gist(out: str, err: str) -> tuple[str, ...]:
    """What failed, what pytest counted in each part, and what make said last."""
    failed = (line for line in out.splitlines() if line.startswith(("FAILED ", "ERROR ")))
    counted = (line.strip("= ") for line in out.splitlines() if line.startswith("==") and " passed" in line)
    return *failed, *counted, *(line for line in err.splitlines() if line.startswith("make: ***"))


def _plain() -> dict[str, str]:
    return {key: value for key, value in environment({}).items() if key not in _OURS}


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _INSTALLED_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/versions", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    return False


def _round_trip(url: str, work: Path) -> Figure:
    image, back = work / "image", work / "back"
    compressible_image(image, 20 * MIB + 777, seed=4)
    client.download(url, client.upload(url, image), back)
    return holds("an image round-trips through it", client.same(image, back))
