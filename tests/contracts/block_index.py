"""What every BlockIndex owes: inherit from BlockIndexContract (and PackRegisterContract) and give it an empty `index`.

Import the module, not the class: pytest would else run the contract by itself.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from blockstore.block import Place
from blockstore.index.contract import BATCH, MARKS, PackRecord
from blockstore.names import new_name

if TYPE_CHECKING:
    from blockstore.index.contract import BlockIndex

RUN = b"run 1"
LATER_RUN = b"run 2"
OWNER = "a" * 32


def digests(count: int, seed: int = 0) -> list[bytes]:
    """So many digests, in no order."""
    made = random.Random(seed)
    return [made.randbytes(32) for _ in range(count)]


def place(pack: int, number: int = 0) -> Place:
    """A place in a pack: the number-th of entries that all have 100 bytes of frame."""
    return Place(pack, 68 + number * 176, 100, 4096)


def fill(index: BlockIndex, count: int, seed: int = 0) -> tuple[int, list[bytes]]:
    """A new pack and so many rows in it; the pack's number and the digests."""
    pack = index.register_pack(new_name(), OWNER)
    names = digests(count, seed)
    index.put_many({name: place(pack, n) for n, name in enumerate(names)})
    return pack, names


def known(index: BlockIndex, number: int) -> PackRecord:
    """A record that must be there."""
    record = index.pack(number)
    assert record is not None
    return record


class BlockIndexContract:
    """The tests; each gets a fresh index."""

    # Rows.

    def test_an_empty_index_has_nothing(self, index: BlockIndex) -> None:
        assert index.get_many([]) == []
        assert index.get_many(digests(3)) == [None, None, None]
        assert list(index.scan()) == []
        assert index.packs() == []
        assert index.pack(1) is None

    def test_rows_come_back_in_the_order_that_was_asked(self, index: BlockIndex) -> None:
        pack, names = fill(index, 5)
        asked = [names[3], bytes(32), names[0], names[3]]
        assert index.get_many(asked) == [place(pack, 3), None, place(pack, 0), place(pack, 3)]

    def test_a_live_row_is_kept_when_the_block_is_put_again(self, index: BlockIndex) -> None:
        pack, names = fill(index, 2)
        other = index.register_pack(new_name(), OWNER)
        new = digests(1, seed=1)
        index.put_many({names[0]: place(other), new[0]: place(other, 1)})
        assert index.get_many([names[0], *new]) == [place(pack, 0), place(other, 1)]

    def test_many_batches_of_rows_are_put_found_and_scanned_in_order(self, index: BlockIndex) -> None:
        count = 2 * BATCH + 10
        pack, names = fill(index, count)
        assert index.get_many(names) == [place(pack, n) for n in range(count)]
        scanned = list(index.scan())
        assert [name for name, _ in scanned] == sorted(names)
        assert dict(scanned) == {name: place(pack, n) for n, name in enumerate(names)}

    @pytest.mark.parametrize("count", [0, 1, 5, BATCH - 1, BATCH, BATCH + 1])
    def test_a_scan_ends_after_the_last_row_wherever_a_batch_ends(self, index: BlockIndex, count: int) -> None:
        _, names = fill(index, count)
        assert [name for name, _ in index.scan()] == sorted(names)

    def test_a_scan_resumes_beyond_a_key_that_is_there_or_not(self, index: BlockIndex) -> None:
        _, names = fill(index, 20)
        ordered = sorted(names)
        assert [name for name, _ in index.scan(ordered[7])] == ordered[8:]
        between = ordered[7][:-1] + bytes([ordered[7][-1] ^ 1])
        assert [name for name, _ in index.scan(between)] == [name for name in ordered if name > between]
        assert list(index.scan(ordered[-1])) == []
        assert list(index.scan(b"\xff" * 32)) == []

    def test_a_scan_goes_on_while_rows_come_and_go(self, index: BlockIndex) -> None:
        pack, names = fill(index, 2 * BATCH)
        ordered = sorted(names)
        scan = index.scan()
        seen = [next(scan)[0] for _ in range(10)]
        index.condemn_many(ordered[-5:], RUN)
        index.forget_many(ordered[-5:], RUN)
        index.put_many({b"\xff" * 32: place(pack, 9)})
        seen += [name for name, _ in scan]
        assert seen == [*ordered[:-5], b"\xff" * 32]

    @pytest.mark.parametrize("count", [0, 1, BATCH, BATCH + 1])
    def test_rows_are_the_scan_in_arrays(self, index: BlockIndex, count: int) -> None:
        _, names = fill(index, count)
        for after in (b"", sorted(names)[count // 2] if names else b"x"):
            found = [row for batch in index.rows(after) for row in batch]
            assert [(row["digest"].tobytes(), Place(*row.tolist()[1:])) for row in found] == list(index.scan(after))

    def test_the_size_counts_rows_marks_and_packs(self, index: BlockIndex) -> None:
        pack, names = fill(index, 10)
        index.condemn_many(names[:3], RUN)
        index.mark_bad(names[5], place(pack, 5))
        size = index.size()
        assert (size.rows, size.condemned, size.bad, size.packs) == (10, 3, 1, 1)
        assert size.bytes > 0
        index.check()

    # The collector's marks.

    def test_a_condemned_row_is_invisible_to_dedup_and_still_readable(self, index: BlockIndex) -> None:
        pack, names = fill(index, 3)
        index.condemn_many(names[:1], RUN)
        assert index.get_many(names) == [None, place(pack, 1), place(pack, 2)]
        assert index.get_many(names, hidden=True) == [place(pack, n) for n in range(3)]
        assert len(list(index.scan())) == 3

    def test_condemning_what_is_not_there_makes_nothing(self, index: BlockIndex) -> None:
        pack = index.register_pack(new_name(), OWNER)
        (name,) = digests(1)
        index.condemn_many([name], RUN)
        index.put_many({name: place(pack)})
        assert index.get_many([name]) == [place(pack)]
        assert index.forget_many([name], RUN) == 0

    def test_a_revived_row_is_as_it_was(self, index: BlockIndex) -> None:
        pack, names = fill(index, 2)
        index.condemn_many(names, RUN)
        index.revive_many([names[0], *digests(1, seed=5)])
        assert index.get_many(names) == [place(pack, 0), None]
        assert index.forget_many(names, RUN) == 1
        assert index.get_many(names, hidden=True) == [place(pack, 0), None]

    def test_a_condemned_row_that_is_put_again_gets_the_new_place_and_loses_its_mark(self, index: BlockIndex) -> None:
        _, names = fill(index, 1)
        index.condemn_many(names, RUN)
        other = index.register_pack(new_name(), OWNER)
        index.put_many({names[0]: place(other, 7)})
        assert index.get_many(names) == [place(other, 7)]
        assert index.forget_many(names, RUN) == 0
        assert index.get_many(names) == [place(other, 7)]

    def test_only_rows_that_still_bear_the_runs_mark_are_forgotten(self, index: BlockIndex) -> None:
        pack, names = fill(index, 4)
        index.condemn_many(names[:3], RUN)
        index.condemn_many(names[2:3], LATER_RUN)
        index.revive_many(names[1:2])
        assert index.forget_many(names, RUN) == 1
        assert index.get_many(names, hidden=True) == [None, place(pack, 1), place(pack, 2), place(pack, 3)]
        assert index.forget_many(names, LATER_RUN) == 1
        assert index.forget_many(names, LATER_RUN) == 0

    def test_the_marks_of_a_run_come_back_in_order(self, index: BlockIndex) -> None:
        _, names = fill(index, BATCH + 100)
        index.condemn_many(names, RUN)
        index.condemn_many(names[:3], LATER_RUN)
        index.revive_many(names[3:5])

        def marked(run: bytes | None = None) -> list[bytes]:
            return [digest.tobytes() for part in index.condemned(run) for digest in part["digest"]]

        assert marked(RUN) == sorted(names[5:])
        assert marked(LATER_RUN) == sorted(names[:3])
        assert marked() == sorted([*names[:3], *names[5:]])
        assert marked(b"run 3") == []

    def test_marks_may_be_forgotten_while_they_are_walked_over(self, index: BlockIndex) -> None:
        _, names = fill(index, 2 * BATCH + 100)
        index.condemn_many(names, RUN)
        for part in index.condemned(RUN):
            index.forget_many([digest.tobytes() for digest in part["digest"]], RUN)
        assert index.size().rows == index.size().condemned == 0

    def test_a_forgotten_block_may_be_stored_again(self, index: BlockIndex) -> None:
        pack, names = fill(index, 1)
        index.condemn_many(names, RUN)
        index.forget_many(names, RUN)
        index.put_many({names[0]: place(pack, 5)})
        assert index.get_many(names) == [place(pack, 5)]

    def test_marks_of_more_than_a_batch_are_set_taken_off_and_forgotten(self, index: BlockIndex) -> None:
        _, names = fill(index, BATCH + 100)
        index.condemn_many(names, RUN)
        assert not any(index.get_many(names))
        index.revive_many(names[: BATCH + 50])
        assert all(index.get_many(names[: BATCH + 50]))
        assert index.forget_many(names, RUN) == 50

    def test_more_marks_than_a_transaction_sets_are_all_set_on_rows_that_exist(self, index: BlockIndex) -> None:
        _, names = fill(index, MARKS + 100)
        missing = [name[:-1] + bytes([name[-1] ^ 1]) for name in names[:300]]
        index.condemn_many([*names, *missing], RUN)
        assert index.size().condemned == MARKS + 100
        assert not any(index.get_many(names))

    def test_who_bears_which_runs_mark_is_told(self, index: BlockIndex) -> None:
        _, names = fill(index, 3)
        assert index.condemned_among(names) == {}
        index.condemn_many(names[:1], RUN)
        index.condemn_many(names[1:2], LATER_RUN)
        assert index.condemned_among([*names, bytes(32)]) == {names[0]: RUN, names[1]: LATER_RUN}

    # Places that change, places that are bad.

    def test_a_move_sets_the_place_of_rows_that_are_still_at_the_old_one(self, index: BlockIndex) -> None:
        pack, names = fill(index, 3)
        to = index.register_pack(new_name(), OWNER)
        moves = {
            names[0]: (place(pack, 0), place(to, 0)),
            names[1]: (place(pack, 9), place(to, 1)),
            bytes(32): (place(pack, 0), place(to, 2)),
        }
        assert index.move_many(moves) == 1
        assert index.get_many([*names, bytes(32)]) == [place(to, 0), place(pack, 1), place(pack, 2), None]

    def test_a_move_raises_the_indexed_end_of_its_pack(self, index: BlockIndex) -> None:
        pack, names = fill(index, 1)
        to = index.register_pack(new_name(), OWNER)
        index.move_many({names[0]: (place(pack, 0), place(to, 4))})
        assert known(index, to).indexed_end == place(to, 4).end

    def test_a_condemned_row_that_is_moved_keeps_its_mark(self, index: BlockIndex) -> None:
        pack, names = fill(index, 1)
        index.condemn_many(names, RUN)
        to = index.register_pack(new_name(), OWNER)
        assert index.move_many({names[0]: (place(pack, 0), place(to))}) == 1
        assert index.get_many(names) == [None]
        assert index.get_many(names, hidden=True) == [place(to)]

    def test_a_bad_row_is_hidden_from_dedup_and_still_readable(self, index: BlockIndex) -> None:
        pack, names = fill(index, 2)
        assert index.mark_bad(names[0], place(pack, 0))
        assert index.get_many(names) == [None, place(pack, 1)]
        assert index.get_many(names, hidden=True) == [place(pack, 0), place(pack, 1)]

    def test_a_row_is_marked_bad_only_at_the_place_that_was_found_bad(self, index: BlockIndex) -> None:
        pack, names = fill(index, 1)
        assert not index.mark_bad(names[0], place(pack, 1))
        assert not index.mark_bad(bytes(32), place(pack, 0))
        assert index.get_many(names) == [place(pack, 0)]

    def test_a_bad_row_that_is_put_again_gets_the_new_place_and_loses_its_mark(self, index: BlockIndex) -> None:
        pack, names = fill(index, 1)
        index.mark_bad(names[0], place(pack, 0))
        index.put_many({names[0]: place(pack, 3)})
        assert index.get_many(names) == [place(pack, 3)]

    def test_only_the_place_that_was_found_bad_is_bad(self, index: BlockIndex) -> None:
        pack, names = fill(index, 2)
        index.mark_bad(names[0], place(pack, 0))
        assert index.bad_among([*names, bytes(32)]) == {names[0]}
        to = index.register_pack(new_name(), OWNER)
        index.move_many({names[0]: (place(pack, 0), place(to))})
        assert index.get_many(names) == [place(to), place(pack, 1)], "what is moved was verified on the way"
        assert index.bad_among(names) == frozenset()

    def test_bad_rows_are_told_until_they_are_somewhere_else(self, index: BlockIndex) -> None:
        pack, names = fill(index, 3)
        for number in (2, 0):
            index.mark_bad(names[number], place(pack, number))
        assert index.bad_rows() == sorted([(names[0], place(pack, 0)), (names[2], place(pack, 2))])
        index.put_many({names[0]: place(pack, 7)})
        assert index.bad_rows() == [(names[2], place(pack, 2))]
        index.put_many({names[2]: place(pack, 2)})
        assert index.bad_rows() == [], "found right after all"
        assert index.get_many([names[2]]) == [place(pack, 2)]

    def test_nothing_is_bad_when_nothing_was_marked(self, index: BlockIndex) -> None:
        _, names = fill(index, 2)
        assert index.bad_among(names) == frozenset()
        assert index.bad_among([]) == frozenset()
