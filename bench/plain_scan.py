"""The limit of marking and condemning: to read what must be read, and do nothing with it.

    python -m bench.plain_scan DATA        the seconds that it took, and their CPU, as JSON

Every row of the index by a cursor into arrays, every byte of every manifest by `pread`: no sums, no comparison, no
marks. It opens LMDB by itself and takes the whole index in one transaction, which a collector beside servers may not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from pathlib import Path
from typing import Final

import lmdb
import numpy as np

from blockstore.index.contract import ROW
from blockstore.manifest import SUFFIX

_ROWS: Final = 256
"""At a time: lists of 4,096 pairs leave the processor's cache, and take a quarter longer."""
_PIECE: Final = 1 << 20


def scan(data: Path) -> tuple[int, int]:
    """The rows and the bytes of manifests that were read."""
    return _rows(data / "index"), _manifests(data / "manifests")


def _rows(index: Path) -> int:
    seen = 0
    with (
        lmdb.open(str(index), readonly=True, lock=False, max_dbs=8, readahead=False) as env,
        env.begin(db=env.open_db(b"blocks", create=False)) as txn,
        txn.cursor() as cursor,
    ):
        pairs = iter(cursor)
        while some := list(itertools.islice(pairs, _ROWS)):
            seen += len(np.frombuffer(b"".join(itertools.chain.from_iterable(some)), ROW))
    return seen


def _manifests(folder: Path) -> int:
    seen, piece = 0, bytearray(_PIECE)
    for path in folder.glob(f"*/*{SUFFIX}"):
        file = os.open(path, os.O_RDONLY)
        try:
            end = 0
            while got := os.preadv(file, [piece], end):
                end += got
        finally:
            os.close(file)
        seen += end
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.plain_scan", description=__doc__)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    started = time.perf_counter()
    rows, size = scan(data)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "cpu": time.process_time(), "rows": rows, "bytes": size}))


if __name__ == "__main__":
    main()
