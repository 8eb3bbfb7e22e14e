"""What this process has open: a test sees that everything came back.

A store's own threads open a directory for as long as it takes to sync it, at times of their own. So what is open for a
moment is waited for; a descriptor that leaks never goes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 20.0


def open_files() -> dict[str, str]:
    """What each descriptor of this process stands for, but the one of the listing itself."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            continue
    return {number: target for number, target in found.items() if Path(f"/proc/self/fd/{number}").is_symlink()}


@contextmanager
def none_left_open() -> Iterator[None]:
    """What is opened in here is closed at its end, or soon after."""
    before = open_files()
    yield
    patient_until = time.monotonic() + PATIENCE
    while left := open_files().items() - before.items():
        if time.monotonic() > patient_until:
            raise AssertionError(f"these stay open: {sorted(left)}")
        time.sleep(0.01)
