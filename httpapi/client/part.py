"""The part: the hidden file that a pull writes beside its target, `.NAME.RANDOM.drystone-part`.

It is always a new file, so that nothing of the user's is ever written over. A lock on it says that its pull
lives; one whose lock can be taken was left by a pull that was killed, and the next pull of the same file
removes it, or takes it over when it can tell by itself what is right in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from httpapi.client.errors import TargetRefused
from httpapi.client.writing import open_to_write

SUFFIX: Final = ".drystone-part"
# With what stands around it a name stays below the 143 bytes that the strictest common file systems allow.
_LONGEST_LABEL: Final = 100
_TRIES: Final = 10


def make_part(path: Path, *, name: str) -> tuple[Path, int]:
    """A new, locked, empty part for the file `path`, which messages call `name`; its path and descriptor.

    Raises TargetRefused when another pull is writing the same file, or the directory takes no files.
    """
    _sweep(path, name)
    return _new_part(path, name)


def take_part(path: Path, *, name: str) -> tuple[Path, int, bool]:
    """As `make_part`, but a part that a killed pull left is taken as it is; the last value says so."""
    taken: tuple[Path, int] | None = None
    for part in _parts(path):
        descriptor = _open_dead(part, name) if taken is None else None
        if descriptor is None:
            _remove_dead(part)
        else:
            taken = part, descriptor
    return (*taken, True) if taken else (*_new_part(path, name), False)


def hidden_beside(path: Path, suffix: str) -> Path:
    """A hidden file's name that belongs to the file `path`, always the same."""
    return path.with_name(f".{_label(path)}{suffix}")


def _new_part(path: Path, name: str) -> tuple[Path, int]:
    for _ in range(_TRIES):
        part = path.with_name(f".{_label(path)}.{secrets.token_hex(8)}{SUFFIX}")
        descriptor = open_to_write(str(part), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, name=name)
        # Another pull's sweep may have met the part before it was locked, and then removes it.
        if _lock(descriptor) and _is_at(descriptor, part):
            return part, descriptor
        os.close(descriptor)
    raise TargetRefused(f"other pulls are writing {name}: wait for them, or choose another name")


def _label(path: Path) -> str:
    raw = os.fsencode(path.name)
    return path.name if len(raw) <= _LONGEST_LABEL else hashlib.sha256(raw).hexdigest()


def _sweep(path: Path, name: str) -> None:
    """Removes what killed pulls of the same file left; TargetRefused for one that is alive."""
    for part in _parts(path):
        if not _remove_dead(part):
            raise _alive(name)


def _alive(name: str) -> TargetRefused:
    return TargetRefused(f"another pull is writing {name}: wait for it, or choose another name")


def _parts(path: Path) -> list[Path]:
    ours = re.compile(rf"\.{re.escape(_label(path))}\.[0-9a-f]{{16}}{re.escape(SUFFIX)}")
    found: list[Path] = []
    # A directory that may be written but not listed is not swept.
    with suppress(OSError), os.scandir(path.parent) as entries:
        found = [Path(entry.path) for entry in entries if ours.fullmatch(entry.name)]
    return found


def _open_dead(part: Path, name: str) -> int | None:
    """A locked descriptor of a part without an owner, None if it can't be had; TargetRefused for one that is alive."""
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _alive(name) from None
    except OSError:
        os.close(descriptor)
        return None
    found = os.fstat(descriptor)
    # With a second name it may be a file that is complete, or one that was never ours.
    if _is_at(descriptor, part) and found.st_uid == os.geteuid() and found.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    return None


def _remove_dead(part: Path) -> bool:
    """False if the part's owner lives; one that cannot be opened or locked for another reason is left alone."""
    try:
        if not stat.S_ISREG(part.lstat().st_mode):
            return True
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(descriptor, part):
            part.unlink()
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return True


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # This file system has no locks: then no sweep can take one either.
        return True
    return True


def _is_at(descriptor: int, part: Path) -> bool:
    """Whether `part` is still the name of the open file, and that a regular one."""
    try:
        found = os.fstat(descriptor)
        return stat.S_ISREG(found.st_mode) and os.path.samestat(found, part.lstat())
    except OSError:
        return False
