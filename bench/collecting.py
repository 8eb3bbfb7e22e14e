"""Marks and condemns in a process of its own, as a collector does, and says how long it took.

python -m bench.collecting DATA        seconds by step, as JSON
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from blockstore.bare_store import open_bare
from blockstore.index.contract import BATCH
from blockstore.mark import mark
from blockstore.marks import compare
from blockstore.names import new_name
from blockstore.progress import Silent
from catalog.sql.records import open_records
from catalog.usecases.administration import roots_of
from httpapi.bootstrap import CATALOG_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blockstore.bare_store import BareStore
    from blockstore.marks import Marks


def run(data: Path) -> dict[str, float]:
    with open_bare(data, "bench", exclusive=False) as store, open_records(data / CATALOG_FILE) as records:
        started = time.perf_counter()
        marks = mark(store, records.read(roots_of), Silent(), alone=False)
        marked = time.perf_counter()
        condemned = _condemn(store, marks)
        ended = time.perf_counter()
        marks.close()
    return {"mark": marked - started, "condemn": ended - marked, "condemned": condemned}


def _condemn(store: BareStore, marks: Marks) -> int:
    run = new_name()
    count = 0
    unreached = _unreached(store, marks)
    while some := list(itertools.islice(unreached, BATCH)):
        store.writer.run(lambda some=some: store.index.condemn_many(some, run))  # type: ignore[misc]  # mypy can't infer a lambda's defaults
        count += len(some)
    return count


def _unreached(store: BareStore, marks: Marks) -> Iterator[bytes]:
    for part in compare(store.index.rows(), marks):
        yield from (digest.tobytes() for digest in part.rows[~part.marked]["digest"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.collecting", description=__doc__)
    parser.add_argument("data", type=Path)
    print(json.dumps(run(parser.parse_args().data)))


if __name__ == "__main__":
    main()
