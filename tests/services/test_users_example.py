"""The user's example: a copy for quick clones on a volume that may be lost, another one that stays."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.serial, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a tmpfs")]
DATA = random.Random(1).randbytes(24 << 20)
"""More than lies on the way to a client that does not read."""
STORES = """
[stores.blocks]
weight = 10
default = true

[stores.fast]
type = "file"
directory = "{mount}/images"
mount_point = "{mount}"
weight = 100
volatile = true
"""


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A mount point with an ephemeral volume."""
    place = tmp_path / "fast"
    place.mkdir()
    mount(place)
    yield place
    if os.path.ismount(place):
        unmount(place)


def mount(place: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], check=True)


def unmount(place: Path) -> None:
    subprocess.run(["umount", "-l", place], check=True)


def until(come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 50
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stores(server: ServeProcess, image: str) -> list[str]:
    """Where an image is said to lie, the heaviest first."""
    return str(json.loads(server.call("GET", f"/v2/images/{image}")[1])["stores"]).split(",")


def is_there(volume: Path) -> bool:
    """Whether a whole copy lies on the volume."""
    return [path.stat().st_size for path in volume.glob("images/??/*")] == [len(DATA)]


def is_read_there(server: ServeProcess, file: str, volume: Path) -> bool:
    """Whether a copy on the volume is open while a client waits for the rest of it."""
    with server.connect_with(f"GET {file} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()) as connection:
        assert connection.recv(17) == b"HTTP/1.1 200 OK\r\n"
        held = Path(f"/proc/{server.process.pid}/fd").glob("*")
        return any(str(each.readlink()).startswith(f"{volume}/") for each in held)


def test_a_lost_volume_is_nobodys_loss_and_its_copy_is_put_back(volume: Path, tmp_path: Path) -> None:
    settings = tmp_path / "stores.toml"
    settings.write_text(STORES.format(mount=volume), encoding="utf-8")
    variables = {"DRYSTONE_STORES_FILE": str(settings)}
    with ServeProcess(tmp_path / "data", **variables) as server:
        image = server.new_image()
        file = f"/v2/images/{image}/file"
        assert server.call("PUT", file, DATA)[0] == 204
        wish = json.dumps({"method": {"name": "copy-image"}, "stores": ["fast"]}).encode()
        assert server.call("POST", f"/v2/images/{image}/import", wish, "application/json")[0] == 202
        until(lambda: stores(server, image) == ["fast", "blocks"])
        assert is_there(volume)
        assert is_read_there(server, file, volume)
        assert server.call("GET", file) == (200, DATA)

        unmount(volume)
        assert server.call("GET", file) == (200, DATA)
        assert list(volume.iterdir()) == []

        # Another volume in its place, empty: whoever reads finds out.
        mount(volume)
        until(lambda: server.call("GET", file) == (200, DATA) and is_there(volume))
        until(lambda: stores(server, image) == ["fast", "blocks"])
        assert server.call("GET", file) == (200, DATA)
        assert is_read_there(server, file, volume)
