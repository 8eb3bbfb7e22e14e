from __future__ import annotations

import random

from bench.guest_writes import GuestWrite, scattered, touched


def test_writes_touch_every_piece_that_they_have_a_byte_of() -> None:
    assert touched([GuestWrite("write", 99, 2), GuestWrite("discard", 300, 100)], 100) == {0, 1, 3}
    assert touched([], 100) == set()


def test_scattered_writes_are_of_every_kind_and_stay_on_the_disk() -> None:
    found = scattered(random.Random(1), 1_000_000, 60)
    assert {each.verb for each in found if not each.verb.startswith("write -q -P")} == {
        "write -q -z",
        "write -q -z -u",
        "discard -q",
    }
    assert len(found) == 60
    assert all(each.length > 0 and each.offset + each.length <= 1_000_000 for each in found)
    assert found[0].offset + found[0].length == 1_000_000
    assert found[0].command.split()[-2:] == ["999300", "700"]
