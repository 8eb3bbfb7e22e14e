from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

FEWEST = {"gc": 20, "rebuild": 8}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["kill", "power"])
@pytest.mark.parametrize("work", ["gc", "rebuild"])
def test_a_crash_at_any_step_loses_nothing_and_a_second_run_finishes(tmp_path: Path, work: str, mode: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.crashes.crash_while_cleaning", str(tmp_path), work, mode, "1", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    steps = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert all(step["held"] for step in steps)
    assert not steps[-1]["stopped"], "the last run went through"
    assert len(steps) >= FEWEST[work], "as many places to stop as there should be"
