"""What holds for every test, and what several rooms start from: in CI a skip must be one that was agreed on."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests.kit.filled_store import fill

ALLOWED = Path(__file__).parent / "allowed_skips.txt"

# A busy machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure() -> None:
    """Let programs that tests start be interrupted, also where the shell that started us had it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """All that was loaded stays: Python's collector need not walk over it, again and again, while tests run."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def origin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A data directory with the module's IMAGES, and their ids: to be copied, not changed."""
    root = tmp_path_factory.mktemp("origin") / "data"
    return root, fill(root, request.module.IMAGES)


@pytest.fixture
def filled(origin: tuple[Path, list[str]], tmp_path: Path) -> tuple[Path, list[str]]:
    """A copy of it."""
    shutil.copytree(origin[0], tmp_path / "data")
    return tmp_path / "data", origin[1]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Turn a skip that nobody agreed on into a failure, so that CI can't go green by not looking."""
    if not (report.skipped and os.environ.get("CI")) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    allowed = [line.strip() for line in ALLOWED.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not any(line in reason for line in allowed if not line.startswith("#")):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI without being listed in tests/allowed_skips.txt: {reason}"
