"""Plays the script on the real Glance and keeps its answers: `make test-glance`.

It wants Glance in `.glance`, an environment of its own, and takes a minute. Scenes can be named after
`python -m tests.clients.glance.record`.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.clients.glance import golden
from tests.clients.glance.play import clear, play
from tests.clients.glance.scenes import SCENES

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PYTHON = HERE.parents[2] / ".glance" / "bin" / "python"


@contextlib.contextmanager
def glance() -> Iterator[int]:
    """The port of a real Glance that has no images yet."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as room:
        command = [str(PYTHON), "-W", "ignore", str(HERE / "serve_glance.py"), room, str(port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout is not None
            try:
                if server.stdout.readline().strip() != "ready":
                    sys.exit(f"Glance did not start; see {room}/glance.log.")
                yield port
            finally:
                server.kill()


def record(scenes: list[str]) -> None:
    """Play and keep these scenes."""
    with glance() as port:
        for scene in scenes:
            clear(port)
            answers = play(port, SCENES[scene])
            golden.write(scene, answers)
            print(f"{scene}: {len(answers)} answers")


if __name__ == "__main__":
    record(sys.argv[1:] or list(SCENES))
