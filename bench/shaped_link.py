"""A link of 1 Gbit/s on this machine: a network namespace whose loopback is shaped. Needs root, ip and tc."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

from bench import tools

if TYPE_CHECKING:
    from collections.abc import Iterator


def missing() -> str:
    """What keeps this machine from having such a link; empty if nothing does."""
    return tools.missing("ip", "tc") or ("" if os.geteuid() == 0 else "only root can make a network namespace")


@contextlib.contextmanager
def gigabit() -> Iterator[list[str]]:
    """What to put before a command so that it runs behind the link, together with all others that are."""
    name = f"drystone-{os.getpid()}"
    inside = ["ip", "netns", "exec", name]
    _run("ip", "netns", "add", name)
    try:
        _run(*inside, "ip", "link", "set", "lo", "up")
        # Loopback's packets have up to 64 KiB: a burst must hold a few of them.
        _run(
            *inside,
            "tc",
            "qdisc",
            "add",
            "dev",
            "lo",
            "root",
            "tbf",
            "rate",
            "1gbit",
            "burst",
            "256kb",
            "latency",
            "20ms",
        )
        yield inside
    finally:
        _run("ip", "netns", "delete", name)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
