from __future__ import annotations

import errno
import os
import random
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockstore.errors import StoreFull, StoreUnavailable
from blockstore.index.contract import ROW
from blockstore.marks import Marks, compare, prefixes


def array(digests: list[bytes]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)


def rows(digests: list[bytes]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    made = np.zeros(len(digests), dtype=ROW)
    made["digest"] = array(digests)
    return made


@pytest.mark.parametrize("run", [1, 100, 1 << 20])
def test_marks_come_back_in_order_each_once_whether_spilled_or_not(run: int) -> None:
    digests = [random.Random(1).randbytes(32) for _ in range(5)] + [bytes(32), b"\xff" * 32, b"a" + bytes(31)]
    digests += [random.Random(seed).randbytes(32) for seed in range(1000)]
    marks = Marks(run=run)
    for first in range(0, len(digests), 50):
        marks.add(array(digests[first : first + 50]))
    marks.add(array(digests[:70]))
    found = [int(mark).to_bytes(8, "big") for bucket in marks.buckets() for mark in bucket]
    assert found == sorted({digest[:8] for digest in digests})
    marks.close()


few = st.lists(st.sampled_from([bytes([a, b]) + bytes(30) for a in range(3) for b in (0, 1, 255)]), unique=True)


@given(marked=few, held=few, batch=st.integers(1, 4))
def test_comparing_tells_for_each_row_whether_it_is_marked_and_which_marks_have_no_row(
    marked: list[bytes], held: list[bytes], batch: int
) -> None:
    marks = Marks()
    marks.add(array(marked))
    held = sorted(held)
    batches = [rows(held[first : first + batch]) for first in range(0, len(held), batch)]
    met, missing = [], []
    for part in compare(batches, marks):
        pairs = zip(part.rows["digest"], part.marked, strict=True)
        met += [(digest.tobytes(), bool(is_marked)) for digest, is_marked in pairs]
        missing += part.missing.tolist()
    assert met == [(digest, digest in marked) for digest in held]
    assert missing == prefixes(array(sorted(set(marked) - set(held)))).tolist()


def test_marks_that_found_no_room_on_the_disk_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [random.Random(seed).randbytes(32) for seed in range(100)]
    marks = Marks(run=60)
    marks.add(array(digests[:50]))
    with monkeypatch.context() as full, pytest.raises(StoreFull):
        full.setattr("tempfile.TemporaryFile", no_room)
        marks.add(array(digests[50:]))
    found = [int(mark).to_bytes(8, "big") for bucket in marks.buckets() for mark in bucket]
    assert found == sorted(digest[:8] for digest in digests)
    marks.close()


def no_room(**_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_marks_that_are_lost_on_the_disk_are_no_garbage() -> None:
    """Whoever empties a file in TMPDIR does not make what lives look dead."""
    with closing(Marks(run=10)) as marks:
        marks.add(array([random.Random(seed).randbytes(32) for seed in range(100)]))
        assert marks._file is not None
        marks._file.truncate(100)
        with pytest.raises(StoreUnavailable):
            list(marks.buckets())
