"""What a delta push remembers on this machine, so that the same command goes on after it was interrupted.

One directory a push, below the user's own state directory: `push.json` says which image and upload it is, `base` is the
manifest that the file is compared with, `sent` holds the name of each block that was sent, written before it is sent.
So whatever was killed, a block that has arrived is known by name, and one that has changed since is noticed. `names`
is the scan's. Nothing in it is needed when it is lost: the push begins anew then.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from httpapi.client.block_names import NamesFile
from httpapi.client.push_lock import UNDER_WAY, held_directory
from httpapi.client.push_terms import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from httpapi.client.block_file import Stamp


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
            return Begun(**json.loads((self._directory / UNDER_WAY).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, begun: Begun) -> None:
        """Replaces what was there."""
        new = self._directory / "push.new"
        new.write_text(json.dumps(asdict(begun)), encoding="utf-8")
        new.replace(self._directory / UNDER_WAY)

    def forget(self) -> None:
        """Nothing is under way any more."""
        (self._directory / UNDER_WAY).unlink(missing_ok=True)
        self.sent.clear()

    def close(self) -> None:
        """Closes the files."""
        self.sent.close()
        self.names.close()


@contextmanager
def open_state(root: Path, what: Sequence[str], name: str) -> Iterator[PushState]:
    """The state of the push that `what` tells apart from others, below `root`; messages call its file `name`.

    SourceRefused while another push of the same kind runs. Where nothing can be written, what is kept ends with this.
    """
    with (
        held_directory(root, what, name) as directory,
        tempfile.TemporaryDirectory(prefix="drystone-") as elsewhere,
        closing(PushState(directory or Path(elsewhere))) as state,
    ):
        yield state
