from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

STRIDE = 2
FEWEST_STEPS = 30


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("mode", "first"), [("kill", 1), ("power", 2)])
def test_a_worker_that_dies_at_any_step_changes_no_image_and_the_next_one_finishes(
    tmp_path: Path, mode: str, first: int
) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.crashes.crash_while_coalescing", str(tmp_path), mode, str(first), str(STRIDE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    steps = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert all(step["held"] for step in steps)
    assert not steps[-1]["stopped"], "the last run went through"
    assert len(steps) * STRIDE >= FEWEST_STEPS, "as many places to stop as there should be"
