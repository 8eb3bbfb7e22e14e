"""What a delta push remembers on this machine, so that the same command goes on after it was interrupted.

One directory a push, below the user's own state directory: `push.json` says which image and upload it is, `base` is the
manifest that the file is compared with, `sent` holds the name of each block that was sent, written before it is sent.
So whatever was killed, a block that has arrived is known by name, and one that has changed since is noticed. `names`
is the scan's. Nothing in it is needed when it is lost: the push begins anew then.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blockstore.clock import now_us
from httpapi.client.block_names import NamesFile
from httpapi.client.errors import SourceRefused
from httpapi.client.push_terms import key_of, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from httpapi.client.block_file import Stamp

FORGOTTEN_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Begun:
    """A push under way: the image, its upload (None until it has begun), what it is compared with; sizes in bytes.

    `touched`: only blocks that a list said were changed are compared, so the image is right over this base alone.
    `stamp` is the regular file's of the scan that found `names`, once all has arrived and the commit is asked for, and
    `began_us` when that scan began (microseconds since 1970).
    """

    image: str
    upload: str | None
    base: str
    manifest: str
    size: int
    block_size: int
    touched: bool = False
    stamp: list[int] | None = None
    began_us: int = 0

    def is_for(self, size: int, parent: str, *, touched: bool) -> bool:
        """Whether a push of `size` bytes over this parent compares the same.

        A list of what was touched holds for one parent alone. Without one all is compared, and any base is right.
        """
        return self.size == size and self.touched == touched and (not touched or self.base == parent)

    def was_read(self, stamp: Stamp | None) -> bool:
        """Whether a file of this stamp is still what was read to its end before the commit was asked for."""
        return stamp is not None and self.stamp == plain(stamp)


class PushState:
    """One push's directory, while its lock is held."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.base = directory / "base"
        self.sent = NamesFile(directory / "sent")
        self.names = NamesFile(directory / "names")

    def load(self) -> Begun | None:
        """What the last push of the same kind left; None if nothing, or nothing that can be read."""
        try:
            return Begun(**json.loads((self._directory / "push.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, begun: Begun) -> None:
        """Replaces what was there."""
        new = self._directory / "push.new"
        new.write_text(json.dumps(asdict(begun)), encoding="utf-8")
        new.replace(self._directory / "push.json")

    def forget(self) -> None:
        """Nothing is under way any more."""
        (self._directory / "push.json").unlink(missing_ok=True)
        self.sent.clear()

    def close(self) -> None:
        """Closes the files, and removes them when nothing is under way."""
        self.sent.close()
        self.names.close()
        if not (self._directory / "push.json").exists():
            shutil.rmtree(self._directory, ignore_errors=True)


@contextmanager
def open_state(root: Path, what: Sequence[str], name: str) -> Iterator[PushState]:
    """The state of the push that `what` tells apart from others, below `root`; messages call its file `name`.

    SourceRefused while another push of the same kind runs. Where nothing can be written, what is kept ends with this.
    """
    directory = root / key_of(what)
    with tempfile.TemporaryDirectory(prefix="drystone-") as elsewhere:
        try:
            _sweep(root)
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = _lock(directory)
        except OSError:
            directory = Path(elsewhere)
            lock = _lock(directory)
        if lock is None:
            raise SourceRefused(f"another push of {name} is under way: wait for it, or stop it")
        try:
            state = PushState(directory)
            try:
                yield state
            finally:
                state.close()
        finally:
            os.close(lock)


def _lock(directory: Path) -> int | None:
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _sweep(root: Path) -> None:
    """Removes what no command has come back to."""
    with suppress(FileNotFoundError):
        for directory in root.iterdir():
            with suppress(OSError):
                if now_us() / 1e6 - directory.stat().st_mtime < FORGOTTEN_DAYS * 86400:
                    continue
                lock = _lock(directory)
                if lock is not None:
                    shutil.rmtree(directory, ignore_errors=True)
                    os.close(lock)
