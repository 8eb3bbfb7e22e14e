from __future__ import annotations

import logging
import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from blockstore.pipeline.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def crew() -> Iterator[Crew]:
    with closing(Crew(3)) as made:
        yield made


def hold(crew: Crew, threads: int) -> threading.Event:
    """Keep so many threads busy until the event is set."""
    free, busy = threading.Event(), threading.Barrier(threads + 1)

    def task() -> None:
        busy.wait()
        free.wait()

    for _ in range(threads):
        crew.submit(task)
    busy.wait()
    return free


def fails() -> None:
    raise ValueError("a task's own trouble")


def test_every_task_runs_once(crew: Crew) -> None:
    done: list[int] = []
    futures = [crew.call(partial(done.append, n)) for n in range(500)]
    for future in futures:
        future.result()
    assert sorted(done) == list(range(500))


def test_a_lane_keeps_the_order_beside_free_tasks_and_other_lanes(crew: Crew) -> None:
    lanes = [crew.lane() for _ in range(5)]
    seen: list[list[int]] = [[] for _ in lanes]
    ended = [threading.Event() for _ in lanes]
    for number in range(300):
        for lane, order in zip(lanes, seen, strict=True):
            lane.submit(partial(order.append, number))
        crew.submit(lambda: None)
    for lane, event in zip(lanes, ended, strict=True):
        lane.submit(event.set)
    assert all(event.wait(10) for event in ended)
    assert seen == [list(range(300))] * 5


def test_a_lanes_tasks_never_run_beside_each_other(crew: Crew) -> None:
    lane, inside, ended = crew.lane(), threading.Lock(), threading.Event()
    clashes = []

    def task() -> None:
        if not inside.acquire(blocking=False):
            clashes.append(threading.current_thread().name)
            return
        inside.release()

    def submit_many() -> None:
        for _ in range(300):
            lane.submit(task)

    submitters = [threading.Thread(target=submit_many) for _ in range(3)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join()
    lane.submit(ended.set)
    assert ended.wait(10)
    assert clashes == []


def test_lanes_run_beside_each_other(crew: Crew) -> None:
    together = threading.Barrier(3)
    met = [threading.Event() for _ in range(3)]
    for event in met:

        def task(event: threading.Event = event) -> None:
            together.wait(10)
            event.set()

        crew.lane().submit(task)
    assert all(event.wait(10) for event in met)


def test_a_lanes_turn_goes_before_free_tasks_that_wait() -> None:
    with closing(Crew(1)) as crew:
        free = hold(crew, 1)
        order: list[str] = []
        lane = crew.lane()
        for number in range(3):
            crew.submit(partial(order.append, f"free {number}"))
            lane.submit(partial(order.append, f"lane {number}"))
        free.set()
        crew.call(lambda: None).result()
    assert order == ["lane 0", "lane 1", "lane 2", "free 0", "free 1", "free 2"]


def test_lanes_take_turns() -> None:
    with closing(Crew(1)) as crew:
        free = hold(crew, 1)
        order: list[str] = []
        for name in ("a", "b"):
            lane = crew.lane()
            for _ in range(3):
                lane.submit(partial(order.append, name))
        free.set()
        crew.call(lambda: None).result()
    assert order == ["a", "b"] * 3


def test_an_error_is_logged_and_the_threads_go_on(caplog: pytest.LogCaptureFixture) -> None:
    with closing(Crew(2)) as crew, caplog.at_level(logging.ERROR):
        for _ in range(10):
            crew.submit(fails)
        assert [crew.call(lambda: threading.current_thread().name).result(10) for _ in range(5)]
    assert caplog.text.count("ValueError: a task's own trouble") == 10


def test_an_error_in_a_lane_does_not_stop_the_lane(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []
    with closing(Crew(2)) as crew:
        lane = crew.lane()
        for number in range(20):
            lane.submit(fails)
            lane.submit(partial(done.append, number))
    assert done == list(range(20))


def test_the_caller_gets_the_result_or_the_error(crew: Crew) -> None:
    assert crew.call(lambda: 42).result() == 42
    with pytest.raises(ValueError, match="own trouble"):
        crew.call(fails).result()


def test_a_call_that_was_cancelled_before_its_turn_never_runs() -> None:
    done = []
    with closing(Crew(1)) as crew:
        free = hold(crew, 1)
        future = crew.call(lambda: done.append("ran"))
        assert future.cancel()
        free.set()
    assert done == []


def test_closing_finishes_what_is_queued_and_ends_the_threads() -> None:
    done: list[int] = []
    crew = Crew(2)
    lane = crew.lane()
    for number in range(200):
        lane.submit(partial(done.append, number))
        crew.submit(lambda: None)
    crew.close()
    assert done == list(range(200))
    assert not any(thread.is_alive() for thread in crew._threads)
