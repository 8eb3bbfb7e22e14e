from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from blockstore import verified_at
from blockstore.disk import Disk
from blockstore.errors import DataRefused
from blockstore.verified_at import HEAD_SIZE, ROW_SIZE, PacksVerified, VerifiedAt, decode, encode

if TYPE_CHECKING:
    from pathlib import Path

STORE = bytes(range(16))
NAMES = [bytes([number]) * 16 for number in range(5)]


def kept() -> VerifiedAt:
    return VerifiedAt(STORE, began=7, finished=5, times={NAMES[3]: 9, NAMES[1]: 6, NAMES[2]: 8})


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    assert verified_at.load(tmp_path, STORE) == VerifiedAt(STORE)
    verified_at.save(tmp_path, kept(), Disk())
    assert verified_at.load(tmp_path, STORE) == kept()
    assert len(verified_at.path_in(tmp_path).read_bytes()) == HEAD_SIZE + 3 * ROW_SIZE + 8


def test_a_pass_knows_what_it_has_seen() -> None:
    state = kept()
    assert [state.is_done(name) for name in NAMES] == [False, False, True, True, False]
    assert state.of(NAMES) == PacksVerified(never=2, oldest=6, pass_began=7, pass_ended=5)
    assert state.of(NAMES[:1]) == PacksVerified(1, 0, 7, 5)


@pytest.mark.parametrize("byte", [0, 20, 40, 60, 70, 100, 143, -1])
def test_a_damaged_file_says_nothing(byte: int) -> None:
    data = bytearray(encode(kept()))
    data[byte] ^= 4
    assert decode(bytes(data), STORE) is None


@pytest.mark.parametrize("length", [0, 1, HEAD_SIZE, HEAD_SIZE + 8, 100])
def test_a_short_file_says_nothing(length: int) -> None:
    assert decode(encode(kept())[:length], STORE) is None


def test_a_file_of_another_store_says_nothing() -> None:
    assert decode(encode(kept()), bytes(16)) is None


def test_a_newer_format_is_left_alone() -> None:
    from blockstore.checksum import xxh3

    data = bytearray(encode(kept()))
    data[16] = 0x80
    data[HEAD_SIZE - 8 : HEAD_SIZE] = xxh3(bytes(data[: HEAD_SIZE - 8])).to_bytes(8, "little")
    with pytest.raises(DataRefused, match="newer format"):
        decode(bytes(data), STORE)


def test_one_process_scrubs_at_a_time(tmp_path: Path) -> None:
    assert not verified_at.is_running(tmp_path)
    with verified_at.alone(tmp_path, Disk()):
        assert verified_at.is_running(tmp_path)
        with pytest.raises(DataRefused, match="scrubbed already"), verified_at.alone(tmp_path, Disk()):
            pass
    assert not verified_at.is_running(tmp_path)
    with verified_at.alone(tmp_path, Disk()):
        pass
