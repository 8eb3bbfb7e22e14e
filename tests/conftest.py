"""What holds for every test: in CI a skip must be one that was agreed on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ALLOWED = Path(__file__).parent / "allowed_skips.txt"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Turn a skip that nobody agreed on into a failure, so that CI can't go green by not looking."""
    if not (report.skipped and os.environ.get("CI")) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    allowed = [line.strip() for line in ALLOWED.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not any(line in reason for line in allowed if not line.startswith("#")):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI without being listed in tests/allowed_skips.txt: {reason}"
