"""Imports and conversions as a client asks for them, and the tasks that do them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from bench.show import client

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ENDS_WITHIN: Final = 600.0


def new(url: str, name: str, form: str) -> str:
    """A queued image of this format; its id."""
    wanted = {"name": name, "disk_format": form, "container_format": "bare"}
    return str(client.call(f"{url}/v2/images", "POST", wanted)["id"])


def kept(url: str, path: Path, form: str) -> str:
    """An image that has the file's bytes as they are."""
    image = new(url, path.name, form)
    client.run(client.put_command(url, image, path))
    return image


def staged(url: str, path: Path, form: str) -> tuple[str, str]:
    """An image whose staged bytes are imported, and the task."""
    image = new(url, path.name, form)
    staging = client.put_command(url, image, path)
    client.run([*staging[:-1], f"{url}/v2/images/{image}/stage"])
    return image, imported(url, image, {"name": "glance-direct"})


def imported(url: str, image: str, method: Mapping[str, str]) -> str:
    """The task that gives a queued image its bytes."""
    client.call(f"{url}/v2/images/{image}/import", "POST", {"method": method})
    [task] = client.call(f"{url}/v2/images/{image}/tasks")["tasks"]
    return str(task["id"])


def converted(url: str, image: str, form: str, *, compressed: bool = False) -> str:
    """The task that makes another image of this one's disk."""
    wanted = {"disk_format": form, "compressed": compressed}
    return str(client.call(f"{url}/v2/images/{image}/actions/convert", "POST", wanted)["id"])


def ended(url: str, task: str) -> dict[str, Any]:
    """The task at its end, well or badly."""
    until = time.monotonic() + _ENDS_WITHIN
    while True:
        found: dict[str, Any] = client.call(f"{url}/v2/tasks/{task}")
        if found["status"] in {"success", "failure"}:
            return found
        if time.monotonic() > until:
            raise RuntimeError(f"task {task} is {found['status']} after {_ENDS_WITHIN:.0f} s: {found['message']}")
        time.sleep(0.05)


def succeeded(url: str, task: str) -> dict[str, Any]:
    """The task at its end. RuntimeError with its reason if that was no good one."""
    found = ended(url, task)
    if found["status"] != "success":
        raise RuntimeError(f"task {task} failed: {found['message']}")
    return found
