"""The directories that settings name: whether a server could use them, and what is free there. Makes nothing."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING, Final

from blockstore.data_dir import check_root
from blockstore.errors import BlockstoreError
from httpapi.import_rules import work_directory

if TYPE_CHECKING:
    from pathlib import Path

    from httpapi.check_notes import Notes
    from httpapi.settings import Settings

_OTHERS: Final = 0o077


def describe_data(data: Path, notes: Notes) -> str:
    """The data directory, or the one that would be made."""
    root = data.absolute()
    try:
        kind = check_root(root)
    except BlockstoreError as refusal:
        notes.problems.append(str(refusal))
        return f"{root}, not usable"
    there = _nearest(root)
    if (what := _unusable(there)) is not None:
        notes.problems.append(f"{there} {what}: put this right, or choose another data directory with --data.")
        return f"{root}, not usable"
    if there == root and stat.S_IMODE(root.stat().st_mode) & _OTHERS:
        notes.warnings.append(f"The data directory {root} is open to other users of this machine: chmod 700 {root}")
    return f"{root} ({kind}, {_free(there)}{'' if there == root else ', will be made'})"


def describe_work(settings: Settings, notes: Notes) -> str:
    """Where jobs have files worked on."""
    path = work_directory(settings).absolute()
    there = _nearest(path)
    # Below the data directory it is as good as that.
    if settings.work_dir is not None and (what := _unusable(there)) is not None:
        notes.problems.append(f"{there} {what}: put this right, or choose another work_dir.")
        return f"{path}, not usable"
    return f"{path} ({_free(there)})"


def _unusable(path: Path) -> str | None:
    if not path.is_dir():
        return "is no directory"
    return None if os.access(path, os.W_OK | os.X_OK) else "cannot be written by this user"


def _free(path: Path) -> str:
    return f"{shutil.disk_usage(path).free / (1 << 30):.1f} GiB free"


def _nearest(path: Path) -> Path:
    """The path itself, or of those above it the first that exists."""
    return next(each for each in (path, *path.parents) if each.exists())
