from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

STRIDE = 2
FEWEST_STEPS = 40


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(1, STRIDE + 1))
@pytest.mark.parametrize(
    ("mode", "cutting"), [("kill", "fixed"), ("power", "fixed"), ("power", "content-defined:16KiB")]
)
def test_a_crash_at_any_step_of_an_upload_loses_nothing_acknowledged_and_leaves_garbage_only(
    tmp_path: Path, mode: str, first: int, cutting: str
) -> None:
    arguments = [str(tmp_path), mode, str(first), str(STRIDE), cutting]
    run = subprocess.run(
        [sys.executable, "-m", "tests.crashes.crash_at_every_step", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    steps = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert all(step["held"] for step in steps)
    assert not steps[-1]["stopped"], "the last run went through"
    assert len(steps) * STRIDE >= FEWEST_STEPS, "as many places to stop as an upload has"
    assert not any(step["acknowledged"] for step in steps if step["stopped"] and step["step"] < FEWEST_STEPS)
