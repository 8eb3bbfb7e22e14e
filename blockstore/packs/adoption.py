"""Packs that a dead process left open: cut after the last valid entry, sealed, never appended to.

A pack whose flock can be taken has no owner. Its rows, if any, are right: packs are synced before rows are put. What
was appended after the last sync may be torn; that tail is cut off, but never below the highest end that a row ever
named (the register keeps it), whatever the bytes there look like.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from blockstore.disk import disk_errors
from blockstore.errors import BlockstoreError, Damaged
from blockstore.index.contract import PackState
from blockstore.leases.flock import try_lock
from blockstore.packs import pack_format, resync
from blockstore.packs.pack_format import TRAILER_SIZE, TableRow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from blockstore.disk import Disk
    from blockstore.index.contract import BlockIndex, PackRecord
    from blockstore.packs.local import LocalPacks

log = logging.getLogger(__name__)


def adopt_orphans(index: BlockIndex, packs: LocalPacks, disk: Disk, is_alive: Callable[[str], bool]) -> int:
    """Seal every open pack whose owner is dead; gives their number. Safe beside running writers and other adopters."""
    orphans = [record for record in index.packs() if record.state is PackState.OPEN and not is_alive(record.owner)]
    return sum(_adopt(record, index, packs, disk) for record in orphans)


def _adopt(record: PackRecord, index: BlockIndex, packs: LocalPacks, disk: Disk) -> bool:
    path = packs.path(record.name)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _drop_unmade(record, index)
    try:
        if not try_lock(fd):
            return False
        current = index.pack(record.number)
        if current is None or current.state is not PackState.OPEN:
            return False
        if _cut_and_seal(current, path, fd, disk):
            index.advance_pack(record.number, PackState.SEALED)
        else:
            disk.unlink(path)
            index.drop_pack(record.number)
    except BlockstoreError as error:
        # The others must not wait for this one: it stays open, and the next start tries again.
        log.warning("pack %s stays unsealed: %s", path, error)
        return False
    finally:
        os.close(fd)
    return True


def _drop_unmade(record: PackRecord, index: BlockIndex) -> bool:
    """A record without a file: its writer died before the first byte, so no row can name it."""
    if record.indexed_end:
        log.error("pack %s is gone, although rows name blocks in it", record.name.hex())
        return False
    index.drop_pack(record.number)
    return True


def _cut_and_seal(record: PackRecord, path: Path, fd: int, disk: Disk) -> bool:
    """Make a sealed pack of what is valid; False if it holds nothing at all."""
    with disk_errors(str(path)):
        size = os.fstat(fd).st_size
        if _is_sealed(fd, size, path):
            disk.sync(fd, str(path))
            return True
        found = [part for part in resync.walk(fd) if isinstance(part, resync.Found)]
    if not found and not record.indexed_end:
        return False
    end = max(found[-1].end if found else 0, record.indexed_end)
    if end > size:
        log.error("pack %s has %d bytes where rows name blocks up to %d: it was truncated", path, size, end)
        return True
    if end < size:
        disk.truncate(fd, end, str(path))
    rows = [
        TableRow(part.offset, part.header.raw_length, part.header.frame_length, part.header.digest) for part in found
    ]
    disk.write(fd, [pack_format.encode_table(rows, end)], end, str(path))
    disk.sync(fd, str(path))
    disk.sync_directory(path.parent)
    log.info("adopted pack %s: %d entries, %d bytes", path, len(rows), end)
    return True


def _is_sealed(fd: int, size: int, path: Path) -> bool:
    """Whether the writer had already written the table when it died."""
    begins = pack_format.table_begins(os.pread(fd, TRAILER_SIZE, max(0, size - TRAILER_SIZE)))
    if begins is None or begins >= size:
        return False
    try:
        pack_format.decode_table(os.pread(fd, size - begins, begins), str(path))
    except Damaged:
        return False
    return True
