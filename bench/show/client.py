"""What the checks ask of a server: its API by the standard library, transfers by curl, as any user would."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from bench.places import ROOT, drystone
from bench.show.server import environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CURL = ["curl", "--silent", "--show-error", "--fail-with-body"]


def call(url: str, method: str = "GET", body: object = None) -> Any:  # noqa: ANN401 - JSON
    """The decoded answer, None if it has no body. RuntimeError with what the server said if it refuses."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        with error:
            raise RuntimeError(f"{method} {url}: {error.code} {error.read().decode(errors='replace')}") from error
    return json.loads(text) if text else None


def create(url: str, name: str, parent: str | None = None) -> str:
    """Creates a queued raw image, as a child of `parent`; its id."""
    lineage = {} if parent is None else {"parent_image_ref": parent}
    wanted = {"name": name, "disk_format": "raw", "container_format": "bare", **lineage}
    return str(call(f"{url}/v2/images", "POST", wanted)["id"])


def status(url: str, image: str) -> str:
    return str(call(f"{url}/v2/images/{image}")["status"])


def delete(url: str, image: str) -> None:
    call(f"{url}/v2/images/{image}", "DELETE")


def file_of(url: str, image: str) -> str:
    return f"{url}/v2/images/{image}/file"


def put_command(url: str, image: str, source: Path | str) -> list[str]:
    """curl that uploads a file, or its standard input (`-`)."""
    octets = ["-H", "Content-Type: application/octet-stream"]
    return [*_CURL, *octets, "-T", str(source), file_of(url, image)]


def get_command(url: str, image: str, target: Path | str, headers: Sequence[str] = (), times: int = 1) -> list[str]:
    """curl that downloads an image, so often one after another on one connection."""
    asked = [word for header in headers for word in ("-H", header)]
    return [*_CURL, *asked, *(["-o", str(target), file_of(url, image)] * times)]


def upload(url: str, source: Path, name: str | None = None) -> str:
    """A new image by curl; its id."""
    image = create(url, name or source.name)
    run(put_command(url, image, source))
    return image


def download(url: str, image: str, target: Path) -> None:
    run(get_command(url, image, target))


def program(url: str, *arguments: str, home: Path | None = None) -> str:
    """`drystone` as a user calls it; what it printed. `home`: where it remembers, else where the user's own does."""
    state = {} if home is None else {"XDG_STATE_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    return run([*drystone(), *arguments], {"DRYSTONE_ENDPOINT": url, **state})


def run(command: list[str], variables: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Runs a program to its end; its standard output. RuntimeError with what it said if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=environment(variables or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def same(first: Path, second: Path) -> bool:
    """Whether two files are equal byte for byte, by cmp."""
    return subprocess.run(["cmp", "--silent", first, second], check=False).returncode == 0


def disk_use(path: Path) -> int:
    """Bytes that a directory takes on the disk, by du."""
    os.sync()
    return int(run(["du", "--summarize", "--block-size=1", str(path)]).split()[0])


def wait_for(url: str, image: str, wanted: str, seconds: float) -> float:
    """Seconds until the image has that status; RuntimeError if it takes longer than `seconds`."""
    started = time.monotonic()
    while (found := status(url, image)) != wanted:
        if time.monotonic() - started > seconds:
            raise RuntimeError(f"image {image} is {found} after {seconds:.0f} s, not {wanted}")
        time.sleep(0.02)
    return time.monotonic() - started
