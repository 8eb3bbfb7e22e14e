"""Runs tempest's tests of images against this service in every profile: `make test-tempest`.

Prints how many ran, passed, failed and were skipped. It ends with 1 if anything is not as `switched_off.toml` has it.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.show.server import environment
from tests.kit.real_keystone import Keystone
from tests.tempest.cloud import PROFILES, WORKERS, accounts, configuration, served, web
from tests.tempest.ends import counts, faults, read, switched_off

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.kit.broken_web import BrokenWeb
    from tests.tempest.cloud import Profile

HERE: Final = Path(__file__).parent
PYTHON: Final = HERE.parents[1] / ".tempest" / "bin" / "python"
_LONGEST_RUN: Final = 600.0
_FAILED: Final = re.compile(r"drystone\.access .*\] [A-Z]+ \S+ 5\d\d ")


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one profile."""

    profile: str
    seconds: float
    counts: Mapping[str, int]
    faults: tuple[str, ...]

    def __str__(self) -> str:
        told = ", ".join(f"{number} {word}" for word, number in self.counts.items())
        return "\n  ".join([f"{self.profile}: {told} ({self.seconds:.0f} s)", *self.faults])


def runs(room: Path) -> Iterator[Run]:
    """All profiles, one after the other, with one Keystone for them all."""
    home = room / "keystone"
    home.mkdir(parents=True)
    with Keystone(home) as keystone, web() as images:
        known = accounts(keystone)
        for profile in PROFILES:
            own = room / profile.name
            own.mkdir()
            (own / "accounts.yaml").write_text(known, encoding="utf-8")
            yield _run(keystone, profile, own, images)


def _run(keystone: Keystone, profile: Profile, room: Path, images: BrokenWeb) -> Run:
    results, settings = room / "results.jsonl", room / "tempest.conf"
    settings.write_text(configuration(keystone, profile, room, images), encoding="utf-8")
    command: list[str | Path] = [PYTHON, "-P", "-W", "ignore", HERE / "programs" / "run_tests.py"]
    command += [settings, results, str(WORKERS)]
    with served(keystone, profile, room, images) as server:
        begun = time.monotonic()
        ended = subprocess.run(
            command, cwd=room, env=environment({}), capture_output=True, text=True, check=False, timeout=_LONGEST_RUN
        )
        seconds = time.monotonic() - begun
        wrong = [f"5xx from this service: {line}" for line in _server_errors(server.log)]
    if ended.returncode:
        return Run(profile.name, seconds, {}, (f"tempest did not run: {ended.stderr[-2000:]}",))
    ends, listed = read(results), switched_off(profile.name)
    return Run(profile.name, seconds, counts(ends, listed), (*faults(ends, listed), *wrong))


def _server_errors(log: Path) -> list[str]:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if _FAILED.search(line)]


if __name__ == "__main__":
    if not PYTHON.exists():
        sys.exit("tempest is missing: run `make test-tempest`")
    with contextlib.ExitStack() as left:
        where = Path(sys.argv[1]) if sys.argv[1:] else Path(left.enter_context(tempfile.TemporaryDirectory()))
        bad = False
        for each in runs(where):
            print(each, flush=True)
            bad = bad or bool(each.faults) or not each.counts
    sys.exit(1 if bad else 0)
