"""The README's commands do what it says, as they stand there."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from bench.images import SMALL, real_pair
from bench.places import CLIENTS, ROOT
from bench.show.registry import Figure, Room, check, holds
from bench.show.server import Server, environment

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ENDPOINT = "http://127.0.0.1:9292"
_ENDS_WITHIN = 300


@check("main-job", "readme", "The commands that the README shows work as they stand there.")
def readme(room: Room) -> Generator[Figure, None, None]:
    pair = real_pair(room.images, SMALL)
    blocks = _BLOCK.findall((ROOT / "README.md").read_text())
    yield holds("the README has blocks of commands", bool(blocks), (f"{len(blocks)} blocks",))
    for number, block in enumerate(blocks):
        # A place of its own for each, as a reader's checkout: the images, and the environments that make has made.
        place = room.work / str(number)
        place.mkdir()
        for name, target in (("disk-v1.raw", pair.v1), ("disk-v2.raw", pair.v2), (".venv", ROOT / ".venv")):
            (place / name).symlink_to(target)
        with Server(place / "data") as server:
            yield _runs(block, place, server.url)


def _runs(block: str, place: Path, url: str) -> Figure:
    variables = environment({"DRYSTONE_ENDPOINT": url})
    variables["PATH"] = f"{CLIENTS / 'bin'}:{variables['PATH']}"
    script = "set -e\n" + block.replace(_ENDPOINT, url)
    # A block may wait for what it started.
    command = ["timeout", str(_ENDS_WITHIN), "bash", "-c", script]
    done = subprocess.run(command, cwd=place, env=variables, capture_output=True, text=True, check=False)
    commands = tuple(block.strip().splitlines())
    said = tuple((done.stdout + done.stderr).splitlines()[-12:]) if done.returncode else ()
    return holds(f"`{_verb(commands)}` and what follows", done.returncode == 0, commands + said)


def _verb(commands: tuple[str, ...]) -> str:
    """The first command's name, for the line: settings of the shell are none."""
    first = next((command for command in commands if not command.startswith("export ")), "nothing")
    return " ".join(first.split()[:2])
