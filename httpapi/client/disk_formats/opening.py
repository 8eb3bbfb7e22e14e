"""Opening a file as the disk that its guest sees, if it is one: what that takes is loaded when it is one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from httpapi.client.block_file import BlockFile
from httpapi.client.disk_formats.first_bytes import format_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpapi.client.disk_formats.guest_disk import GuestDisk


def open_guest_disk(path: str, backing_dirs: Sequence[str] = ()) -> GuestDisk | None:
    """The disk in a file, by its first bytes; None for what is no regular file, or of none of the formats.

    SourceRefused for a file that must not be opened, see `headers.py` and `chain.py`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        # Whoever opens it as it is says why.
        return None
    try:
        file = BlockFile(descriptor, path)
        found = format_of(descriptor) if file.is_regular else None
    except OSError:
        found = None
    if found is None:
        os.close(descriptor)
        return None
    from httpapi.client.disk_formats.chain import Allowed, open_chain
    from httpapi.client.disk_formats.guest_disk import GuestDisk

    return GuestDisk(open_chain(file, found, Allowed(tuple(backing_dirs))))
