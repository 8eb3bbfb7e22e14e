"""What the test suite shows: named selections of it, with how many tests passed."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.places import ROOT
from bench.show.registry import Figure, Room, check

if TYPE_CHECKING:
    from collections.abc import Generator


@dataclass(frozen=True, slots=True)
class Selection:
    """A line of the show: pytest's paths or node ids, and an expression for `-k` where they hold more than it."""

    name: str
    paths: tuple[str, ...]
    keyword: str = ""


_ROUND_TRIP = "tests/blockstore/test_property_round_trip.py"

# One check for each tuple: its name, its sentence, its selections. Paths are relative to the checkout.
TABLE: tuple[tuple[str, str, tuple[Selection, ...]], ...] = (
    (
        "fault-kit",
        "Stopped at every step between pack write and commit: nothing acknowledged is lost, the rest is garbage.",
        (Selection("the process stopped at every step", ("tests/crashes/test_crash_at_every_step.py",)),),
    ),
    (
        "bodies",
        "Bodies that are too short, too long, empty or of another type; unknown images and wrong states.",
        (
            Selection("uploads that are refused, and what they leave", ("tests/httpapi/test_upload.py",)),
            Selection("a late commit leaves its successor alone", ("tests/catalog/test_commit.py",), "late_commit"),
        ),
    ),
    (
        "full-disk",
        "A full disk: 413 or 503, nothing half-visible, and it works again after space is made.",
        (
            Selection("full at pack, index, manifest and catalog", ("tests/crashes/test_full_disk.py",)),
            Selection("a real tmpfs of 64 MiB, full", ("tests/services/test_full_tmpfs.py",)),
        ),
    ),
    (
        "damage",
        "A flipped bit or a truncation: never a wrong byte, and the error names the file.",
        (
            Selection("packs and manifests damaged", ("tests/blockstore/test_damage.py",)),
            Selection("the index truncated", ("tests/blockstore/index/test_lmdb_index.py",), "truncated"),
            Selection("a failure in the middle of a download", ("tests/httpapi/test_download.py",), "middle or damage"),
        ),
    ),
    (
        "properties",
        "Any bytes, any split: the same blocks and bytes; chains against a bytearray; zstd -d; resync.",
        (
            Selection("any bytes by any split, any range", (_ROUND_TRIP,), "any_bytes or any_range"),
            Selection("chains that grow, shrink and grow", (_ROUND_TRIP,), "chain or shrinks or increment or base"),
            Selection("zstd -d of a sealed pack", (_ROUND_TRIP, "tests/blockstore/test_golden_files.py"), "zstd"),
            Selection("resync finds every later entry", ("tests/blockstore/packs/test_resync.py",)),
        ),
    ),
)


def register(
    step: str, name: str, sentence: str, selections: tuple[Selection, ...], *, long_only: bool = False
) -> None:
    """Makes selections of the test suite a check of a step."""

    @check(step, name, sentence, long_only=long_only)
    def run(room: Room) -> Generator[Figure, None, None]:
        for number, selection in enumerate(selections):
            yield passed(selection, room.work / f"{number}.xml")


def passed(selection: Selection, report: Path) -> Figure:
    """Run a selection of the test suite, with its report in a file: how many passed; all must."""
    missing = [path for path in selection.paths if not Path(ROOT, path.split("::")[0]).exists()]
    if missing:
        return Figure(selection.name, "no tests", ">= 1 passed", False, tuple(f"{path} is missing" for path in missing))
    keyword = ["-k", selection.keyword] if selection.keyword else []
    quiet = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    command = [sys.executable, "-m", "pytest", *quiet, *keyword, *selection.paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    passed, other = _counts(report) if report.exists() else (0, 0)
    ok = done.returncode == 0 and passed > 0
    detail = () if ok else tuple((done.stdout + done.stderr).splitlines()[-12:])
    skipped = f", {other} not" if other else ""
    return Figure(selection.name, f"{passed} passed{skipped}", "all, >= 1", ok and not other, detail)


def _counts(report: Path) -> tuple[int, int]:
    """How many tests passed, and how many failed, broke or were skipped."""
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    other = sum(int(suite.get(key, 0)) for key in ("failures", "errors", "skipped"))
    return int(suite.get("tests", 0)) - other, other


for _row in TABLE:
    # Where the short form is shown, in CI, `make test` has just run all of them.
    register("main-job", *_row, long_only=True)
