from __future__ import annotations

import pytest

from blockstore.errors import DataRefused
from blockstore.features import NONE, Features


def test_this_version_has_no_bits() -> None:
    assert (NONE.compat, NONE.ro_compat, NONE.incompat) == (0, 0, 0)
    NONE.check("a file")
    NONE.check("a file", write=True)


def test_unknown_compat_bits_may_be_ignored() -> None:
    Features(compat=0xFFFFFFFF).check("a file", write=True)


def test_unknown_ro_compat_bits_allow_reading_only() -> None:
    bits = Features(ro_compat=8)
    bits.check("a file")
    with pytest.raises(DataRefused, match=r"a file was written in a newer format \(bits 0x8 are unknown here\)"):
        bits.check("a file", write=True)


@pytest.mark.parametrize("write", [False, True])
def test_unknown_incompat_bits_allow_nothing(write: bool) -> None:  # noqa: FBT001 - a parameter of the test
    with pytest.raises(DataRefused, match="run a newer Drystone on it, or give this one another data directory"):
        Features(incompat=2).check("a file", write=write)


def test_the_message_names_every_unknown_bit() -> None:
    with pytest.raises(DataRefused, match="bits 0x6 "):
        Features(ro_compat=4, incompat=2).check("a file", write=True)
