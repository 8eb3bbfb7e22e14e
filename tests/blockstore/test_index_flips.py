from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = 40


def test_a_flipped_bit_of_the_index_gives_the_right_bytes_or_says_to_make_it_again(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.blockstore.index_flips", str(tmp_path), str(FLIPS), "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    flips = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert len(flips) == FLIPS
    assert all(flip["fine"] for flip in flips)
    assert {flip["code"] for flip in flips} == {0, 10}, "some hurt, and LMDB died of none"
