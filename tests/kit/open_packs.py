"""Which packs a process has open to read them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def packs_open(pid: int) -> list[str]:
    """The paths of its descriptors on packs; one that it has locked is its writer's, and not counted."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            name, locked = str(path.readlink()), "lock:" in Path(f"/proc/{pid}/fdinfo/{path.name}").read_text()
            found += [name] if name.removesuffix(" (deleted)").endswith(".zst") and not locked else []
    return sorted(found)
