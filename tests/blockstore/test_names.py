from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from blockstore import clock
from blockstore.names import SIZE, fan_out, new_name


def test_a_name_has_16_bytes_and_begins_with_the_time() -> None:
    before = clock.now_us() // 1000
    name = new_name()
    assert len(name) == SIZE == 16
    assert before <= int.from_bytes(name[:6], "big") <= clock.now_us() // 1000


def test_later_names_sort_after_earlier_ones() -> None:
    first = new_name()
    time.sleep(0.002)
    assert new_name() > first


def test_names_are_never_the_same_on_several_threads() -> None:
    with ThreadPoolExecutor(4) as threads:
        names = list(threads.map(lambda _: new_name(), range(5000)))
    assert len(set(names)) == 5000


def test_files_spread_over_all_directories() -> None:
    folders = {fan_out(new_name().hex()) for _ in range(5000)}
    assert len(folders) == 256
    assert all(len(folder) == 2 for folder in folders)


def test_the_folder_is_the_names_last_two_digits() -> None:
    assert fan_out("019aa0000000d1d2d3d4d5d6d7d8d9da") == "da"
