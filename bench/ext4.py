"""Makes and changes ext4 images without mounting them: mke2fs, debugfs and e2fsck, as root or not."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_ID = "d7575707-0000-4000-8000-64726f6e6500"  # fixed, so that the same files make the same image
_PLACES = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/local/sbin"))


def make(image: Path, tree: Path, size: int, files: int) -> None:
    """Writes an ext4 image of `size` bytes, sparse, that holds the tree and has inodes for twice `files`."""
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    inodes = str(max(size // 16384, files * 2))
    options = ["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-N", inodes, "-U", _ID]
    _run("mke2fs", *options, "-E", f"hash_seed={_ID},root_owner=0:0", "-d", str(tree), str(image))


def change(image: Path, commands: Iterable[str]) -> None:
    """Runs debugfs commands on the image; what debugfs complains about is raised, since its exit status is always 0."""
    done = _run("debugfs", "-w", "-f", "-", str(image), text="\n".join(commands) + "\n")
    complaints = [line for line in done.stderr.splitlines() if line and not line.startswith("debugfs 1.")]
    if complaints:
        raise RuntimeError(f"debugfs refused to change {image}: {complaints[0]}")


def check(image: Path) -> None:
    """Raises if the file system in the image is not whole."""
    _run("e2fsck", "-f", "-n", str(image))


def _run(tool: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    program = shutil.which(tool) or shutil.which(tool, path=_PLACES)
    if program is None:
        raise RuntimeError(f"{tool} is not installed: apt-get install e2fsprogs")
    environment = os.environ | {"E2FSPROGS_FAKE_TIME": "1700000000", "LC_ALL": "C"}
    done = subprocess.run(
        [program, *arguments], input=text, text=True, capture_output=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{tool} {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done
