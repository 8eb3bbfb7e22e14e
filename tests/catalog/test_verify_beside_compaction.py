"""Verification beside compaction finds nothing wrong where nothing is."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.usecases import administration
from tests.kit.compacted import move_all
from tests.kit.filled_store import contents, looked_after

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = contents()


def test_all_is_right_while_all_blocks_move(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    stop, moved = threading.Event(), list[bool]()
    with looked_after(root) as (store, records):

        def move() -> None:
            while not stop.is_set():
                move_all(store, full=256 * 1024)
                moved.append(True)

        mover = threading.Thread(target=move)
        mover.start()
        try:
            for data in itertools.cycle((False, True)):
                found = administration.verify_all(store, records, Wanted(data=data, mark=True), Silent())
                assert found.verified.clean, found.verified.findings
                assert not found.verified.notes
                assert not found.verified.marked_bad
                if len(moved) > 2:
                    break
        finally:
            stop.set()
            mover.join(60)
