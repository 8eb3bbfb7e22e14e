"""Packs that a dead process left open: cut after the last valid entry, sealed, never appended to.

A pack whose flock can be taken has no owner. Its rows, if any, are right: packs are synced before rows are put. What
was appended after the last sync may be torn; that tail is cut off, but never below the highest end that a row ever
named (the register keeps it), whatever the bytes there look like.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blockstore.disk import disk_errors
from blockstore.errors import BlockstoreError, Damaged, Missing
from blockstore.index.contract import PackState
from blockstore.leases.flock import try_lock
from blockstore.packs import pack_format, resync
from blockstore.packs.pack_format import START_SIZE, TRAILER_SIZE, TableRow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from blockstore.disk import Disk
    from blockstore.index.contract import BlockIndex, PackRecord
    from blockstore.packs.local import LocalPacks

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Adopted:
    """How many packs were sealed, or dropped since they held nothing, and a sentence for each that could not be."""

    count: int = 0
    failed: list[str] = field(default_factory=list)


def adopt_orphans(index: BlockIndex, packs: LocalPacks, disk: Disk, is_alive: Callable[[str], bool]) -> Adopted:
    """Seal every open pack whose owner is dead. Safe beside running writers and other adopters.

    One pack's trouble is not the others', nor the start's: it stays open, and the next start tries again.
    """
    done = Adopted()
    for record in index.packs():
        if record.state is not PackState.OPEN or is_alive(record.owner):
            continue
        path = packs.path(record.name)
        try:
            with disk_errors(str(path)):
                done.count += _adopt(record, index, packs, disk)
        except BlockstoreError as error:
            log.warning("pack %s stays unsealed: %s", path, error)
            done.failed.append(f"{path} could not be sealed and stays as it is: {error}")
    return done


def _adopt(record: PackRecord, index: BlockIndex, packs: LocalPacks, disk: Disk) -> bool:
    path = packs.path(record.name)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _drop_unmade(record, index, path)
    try:
        if not try_lock(fd):
            return False
        current = index.pack(record.number)
        if current is None or current.state is not PackState.OPEN:
            return False
        if _cut_and_seal(current, path, fd, disk):
            _mark_beyond(current, index, os.fstat(fd).st_size)
            index.advance_pack(record.number, PackState.SEALED)
        else:
            disk.unlink(path)
            index.drop_pack(record.number)
    finally:
        os.close(fd)
    return True


def _drop_unmade(record: PackRecord, index: BlockIndex, path: Path) -> bool:
    """A record without a file: its writer died before the first byte, so no row can name it."""
    if record.indexed_end:
        raise Missing(f"{path} is gone, although rows name blocks in it")
    index.drop_pack(record.number)
    return True


def _cut_and_seal(record: PackRecord, path: Path, fd: int, disk: Disk) -> bool:
    """Make a sealed pack of what is valid; False if it holds nothing at all."""
    with disk_errors(str(path)):
        size = os.fstat(fd).st_size
        _refuse_newer(fd, path)
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


def _refuse_newer(fd: int, path: Path) -> None:
    """DataRefused for a pack that a newer version writes; a damaged first frame does not keep it from being sealed."""
    with contextlib.suppress(Damaged):
        pack_format.decode_start(os.pread(fd, START_SIZE, 0), str(path))


def _mark_beyond(record: PackRecord, index: BlockIndex, size: int) -> None:
    """Hide rows that name bytes beyond the end of a truncated pack from dedup: the next upload stores them anew."""
    if record.indexed_end > size:
        for name, place in index.scan():
            if place.pack == record.number and place.end > size:
                index.mark_bad(name, place)


def _is_sealed(fd: int, size: int, path: Path) -> bool:
    """Whether the writer had already written the table when it died.

    The table must be that of the entries that are really there: an image's own bytes could look like one.
    """
    begins = pack_format.table_begins(os.pread(fd, TRAILER_SIZE, max(0, size - TRAILER_SIZE)), size)
    if begins is None:
        return False
    try:
        table = pack_format.decode_table(os.pread(fd, size - begins, begins), str(path))
    except Damaged:
        return False
    found = list(resync.walk(fd, stop=begins))
    listed = [(row.offset, row.digest) for row in table]
    return listed == [(part.offset, part.header.digest) for part in found if isinstance(part, resync.Found)]
