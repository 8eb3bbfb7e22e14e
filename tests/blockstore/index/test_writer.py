from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from blockstore.errors import StoreFull, StoreUnavailable
from blockstore.index.writer import IndexWriter


def test_it_gives_the_result_of_a_change() -> None:
    with closing(IndexWriter()) as writer:
        assert writer.run(lambda: 7) == 7


def test_an_error_of_a_change_is_its_callers() -> None:
    def change() -> None:
        raise StoreFull("no space left")

    with closing(IndexWriter()) as writer:
        with pytest.raises(StoreFull):
            writer.run(change)
        assert writer.run(lambda: "the next one") == "the next one"


def test_changes_run_one_after_another_on_one_thread() -> None:
    running = threading.Lock()
    threads = set()

    def change() -> None:
        assert running.acquire(blocking=False)
        threads.add(threading.get_ident())
        running.release()

    with closing(IndexWriter()) as writer, ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda _: writer.run(change), range(200)))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_whoever_waits_too_long_is_told_and_later_changes_go_on() -> None:
    free, begun, late = threading.Event(), threading.Event(), []

    def stuck() -> None:
        begun.set()
        free.wait()
        late.append("it happened late")

    with closing(IndexWriter(patience=0.05)) as writer:
        with pytest.raises(StoreUnavailable, match="another process that uses this data directory is stopped or stuck"):
            writer.run(stuck)
        assert begun.is_set()
        # One that had not begun when its caller gave up never happens.
        with pytest.raises(StoreUnavailable):
            writer.run(lambda: late.append("never"))
        assert writer.waiting() > 0
        free.set()
    assert late == ["it happened late"]


def test_the_thread_waits_for_nothing_when_there_is_nothing_to_do() -> None:
    with closing(IndexWriter()) as writer:
        assert writer.waiting() == 0
        assert writer.run(writer.waiting) >= 0
        writer.run(lambda: None)
        assert writer.waiting() == 0


def test_closing_finishes_what_was_given() -> None:
    done: list[int] = []
    writer = IndexWriter()
    with ThreadPoolExecutor(4) as callers:
        futures = [callers.submit(writer.run, lambda n=n: done.append(n)) for n in range(20)]
        for future in futures:
            future.result()
        writer.close()
    assert sorted(done) == list(range(20))
