"""`qemu-img compare` of a disk here and an image at a server, which it reads by HTTP in ranges."""

from __future__ import annotations

import json
import subprocess

from bench import tools

IDENTICAL = "Images are identical."
DIFFERENT = "Content mismatch"  # its first words, where is told then
# QEMU gives a request up after 5 s, which a machine that is busy may need.
_SECONDS = 600


def compare_command(disk: str, url: str, form: str = "raw") -> list[str]:
    """`disk` in the format `form`: a file, or an address of NBD."""
    image = {"driver": "raw", "file": {"driver": "http", "url": url, "timeout": _SECONDS}}
    return [tools.find("qemu-img") or "qemu-img", "compare", "-f", form, disk, f"json:{json.dumps(image)}"]


def compare(disk: str, url: str, form: str = "raw") -> str:
    """What it says."""
    done = subprocess.run(compare_command(disk, url, form), capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip() or f"nothing, and exit code {done.returncode}"
