"""What the register of packs in every BlockIndex owes; to be used as `tests/contracts/block_index.py` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from blockstore.errors import StoreUnavailable
from blockstore.index.contract import PackRecord, PackState
from blockstore.names import new_name
from tests.contracts.block_index import LATER_RUN, OWNER, RUN, digests, fill, known, place

if TYPE_CHECKING:
    from blockstore.index.contract import BlockIndex


class PackRegisterContract:
    """The tests; each gets a fresh index."""

    @pytest.mark.parametrize("owner", ["", "o", OWNER, "ö" * 50])
    def test_an_owner_comes_back(self, index: BlockIndex, owner: str) -> None:
        number = index.register_pack(new_name(), owner)
        index.advance_pack(number, PackState.SEALED)
        assert known(index, number).owner == owner

    def test_a_new_pack_is_open_and_has_no_rows(self, index: BlockIndex) -> None:
        name = new_name()
        number = index.register_pack(name, OWNER)
        assert index.pack(number) == PackRecord(number, name, OWNER, PackState.OPEN, 0)
        assert index.packs() == [PackRecord(number, name, OWNER, PackState.OPEN, 0)]

    def test_numbers_are_never_used_again(self, index: BlockIndex) -> None:
        numbers = []
        for _ in range(5):
            numbers.append(index.register_pack(new_name(), OWNER))
            index.drop_pack(numbers[-1])
        assert index.packs() == []
        assert numbers == sorted(set(numbers))
        assert index.register_pack(new_name(), OWNER) > numbers[-1]

    def test_the_register_is_in_the_order_of_numbers(self, index: BlockIndex) -> None:
        # More than 256: a wrong byte order would show.
        numbers = [index.register_pack(new_name(), OWNER) for _ in range(300)]
        assert [record.number for record in index.packs()] == numbers == sorted(numbers)

    def test_a_state_only_goes_forward(self, index: BlockIndex) -> None:
        number = index.register_pack(new_name(), OWNER)
        for state, then in [
            (PackState.SEALED, PackState.SEALED),
            (PackState.OPEN, PackState.SEALED),
            (PackState.RETIRING, PackState.RETIRING),
            (PackState.SEALED, PackState.RETIRING),
        ]:
            index.advance_pack(number, state)
            assert known(index, number).state is then

    def test_changing_a_pack_that_is_not_there_makes_none(self, index: BlockIndex) -> None:
        index.advance_pack(77, PackState.SEALED)
        index.drop_pack(77)
        index.put_many({}, seal=[77])
        assert index.packs() == []

    def test_the_indexed_end_is_the_highest_end_that_a_row_ever_named(self, index: BlockIndex) -> None:
        pack, names = fill(index, 3)
        assert known(index, pack).indexed_end == place(pack, 2).end
        index.put_many({bytes(32): place(pack, 0)})
        index.condemn_many(names, RUN)
        index.forget_many(names, RUN)
        assert known(index, pack).indexed_end == place(pack, 2).end

    def test_a_pack_is_sealed_with_its_last_rows(self, index: BlockIndex) -> None:
        pack = index.register_pack(new_name(), OWNER)
        other = index.register_pack(new_name(), OWNER)
        names = digests(3)
        index.put_many({name: place(pack, n) for n, name in enumerate(names)}, seal=[pack])
        assert known(index, pack).state is PackState.SEALED
        assert known(index, other).state is PackState.OPEN
        index.put_many({}, seal=[other])
        assert known(index, other).state is PackState.SEALED

    def test_a_pack_is_sealed_although_all_its_rows_were_there(self, index: BlockIndex) -> None:
        pack, names = fill(index, 3)
        index.put_many({name: place(pack, n) for n, name in enumerate(names)}, seal=[pack])
        assert known(index, pack).state is PackState.SEALED

    def test_rows_in_a_sealed_pack_may_still_be_put(self, index: BlockIndex) -> None:
        # Another generation may refer to blocks that were pending when the pack was filled up.
        pack, _ = fill(index, 1)
        index.advance_pack(pack, PackState.SEALED)
        new = digests(1, seed=1)
        index.put_many({new[0]: place(pack, 1)})
        assert index.get_many(new) == [place(pack, 1)]

    def test_a_sealed_pack_without_rows_is_retired_and_takes_no_more(self, index: BlockIndex) -> None:
        pack, names = fill(index, 3)
        index.advance_pack(pack, PackState.SEALED)
        index.condemn_many(names, RUN)
        index.forget_many(names, RUN)
        assert index.retire_pack(pack, names)
        assert known(index, pack).state is PackState.RETIRING
        assert index.retire_pack(pack, names), "again, by somebody else"
        with pytest.raises(StoreUnavailable):
            index.put_many({names[0]: place(pack)})

    def test_a_pack_that_a_row_names_is_not_retired_though_it_be_condemned(self, index: BlockIndex) -> None:
        pack, names = fill(index, 3)
        index.advance_pack(pack, PackState.SEALED)
        index.condemn_many(names, RUN)
        index.forget_many(names[1:], RUN)
        assert not index.retire_pack(pack, names)
        assert known(index, pack).state is PackState.SEALED

    def test_a_retiring_pack_that_a_row_names_is_not_dead(self, index: BlockIndex) -> None:
        pack, names = fill(index, 1)
        index.advance_pack(pack, PackState.RETIRING)
        assert not index.retire_pack(pack, names)

    @pytest.mark.parametrize("sort", ["retiring", "unknown"])
    def test_a_condemned_row_that_is_put_into_a_pack_on_its_way_out_stays_where_it_is_and_lives(
        self, index: BlockIndex, sort: str
    ) -> None:
        # Another upload met it in the pack that it was moved from.
        pack, names = fill(index, 2)
        gone = index.register_pack(new_name(), OWNER)
        if sort == "retiring":
            index.advance_pack(gone, PackState.RETIRING)
        else:
            index.drop_pack(gone)
        index.condemn_many(names, RUN)
        index.put_many({names[0]: place(gone)})
        assert index.get_many(names) == [place(pack, 0), None]
        assert index.forget_many(names, RUN) == 1
        index.mark_bad(names[0], place(pack, 0))
        index.condemn_many(names[:1], LATER_RUN)
        with pytest.raises(StoreUnavailable):
            index.put_many({names[0]: place(gone)})

    def test_rows_elsewhere_keep_no_pack(self, index: BlockIndex) -> None:
        _, names = fill(index, 3)
        copies = index.register_pack(new_name(), OWNER)
        index.advance_pack(copies, PackState.SEALED)
        assert index.retire_pack(copies, names)

    def test_an_open_or_unknown_pack_is_not_retired(self, index: BlockIndex) -> None:
        number = index.register_pack(new_name(), OWNER)
        assert not index.retire_pack(number, [])
        assert known(index, number).state is PackState.OPEN
        assert not index.retire_pack(number + 7, [])

    @pytest.mark.parametrize("sort", ["retiring", "unknown"])
    def test_rows_in_a_retiring_or_unknown_pack_are_refused_and_nothing_is_sealed(
        self, index: BlockIndex, sort: str
    ) -> None:
        pack, names = fill(index, 1)
        gone = index.register_pack(new_name(), OWNER)
        if sort == "retiring":
            index.advance_pack(gone, PackState.RETIRING)
        else:
            index.drop_pack(gone)
        new = digests(2, seed=1)
        with pytest.raises(StoreUnavailable, match=f"pack {gone} is being retired .* send the upload again"):
            index.put_many({new[0]: place(gone)}, seal=[pack])
        with pytest.raises(StoreUnavailable):
            index.move_many({names[0]: (place(pack, 0), place(gone))})
        assert index.get_many([*new, *names]) == [None, None, place(pack, 0)]
        assert known(index, pack).state is PackState.OPEN

    def test_a_row_that_is_live_is_not_refused_for_the_pack_that_it_would_have_had(self, index: BlockIndex) -> None:
        pack, names = fill(index, 1)
        gone = index.register_pack(new_name(), OWNER)
        index.advance_pack(gone, PackState.RETIRING)
        index.put_many({names[0]: place(gone)})
        assert index.get_many(names) == [place(pack, 0)]
