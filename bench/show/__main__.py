"""`python -m bench.show [ISSUE]`: runs the checks of one issue, or of all, and prints a line a figure.

    python -m bench.show main-job              as `make show-main-job`
    python -m bench.show                       as `make show`
    python -m bench.show main-job --only kill  one check; --list names them, --short runs the short forms
    python -m bench.show collection --only storm --part 2/5
    python -m bench.show bound --skip workers  all of an issue but one

Exit code 1 if a figure is short of its bound or a check fails.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from bench.images import WORK
from bench.show.registry import CHECKS, Check, Figure, Part, Room, load

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.show", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("issue", nargs="?", help="all issues if left out")
    parser.add_argument("--only", action="append", metavar="NAME", help="one check; may be repeated")
    parser.add_argument("--skip", action="append", metavar="NAME", help="all but this one; may be repeated")
    parser.add_argument("--list", action="store_true", help="name the checks and stop")
    parser.add_argument("--short", action="store_true", help="the short forms, for CI; checks without one are left out")
    part = "of checks that can be run in parts (flips, storm, listing) the K-th of N; the bounds are a part's"
    parser.add_argument("--part", type=Part.parse, default=Part(), metavar="K/N", help=part)
    parser.add_argument("--work", type=Path, default=WORK, help="where images and data directories are made")
    wanted = parser.parse_args(arguments)
    load()
    checks = chosen(wanted.issue, wanted.only, wanted.skip)
    if not checks:
        known = ", ".join(f"{issue} {name}" for issue, name in CHECKS)
        print(f"No such check. There are: {known}.", file=sys.stderr)
        return 2
    if wanted.list:
        for check in checks:
            print(f"{check.issue:<10} {check.name:<16} {'long  ' if check.long_only else '      '}{check.sentence}")
        return 0
    verdicts = {check: perform(check, wanted.work, brief=wanted.short, part=wanted.part) for check in checks}
    print(f"\n{sum(verdict is True for verdict in verdicts.values())} of {len(checks)} checks ok", end="")
    for word, wants in (("short", False), ("left out", None)):
        named = [f"{check.issue} {check.name}" for check, verdict in verdicts.items() if verdict is wants]
        print(f"; {word}: {', '.join(named)}" if named else "", end="")
    print()
    return 1 if False in verdicts.values() else 0


def chosen(issue: str | None, names: Sequence[str] | None, but: Sequence[str] | None = None) -> list[Check]:
    checks = [check for check in CHECKS.values() if issue in {None, check.issue} and check.name not in (but or ())]
    return [check for check in checks if not names or check.name in names]


def perform(check: Check, work: Path, *, brief: bool, part: Part = Part()) -> bool | None:  # noqa: B008 - frozen
    """Runs a check in a directory of its own, printing its figures as they come; whether all hold, None if left out."""
    print(f"\n{check.issue} {check.name}: {check.sentence}", flush=True)
    if brief and check.long_only:
        print("  left out: it has no short form", flush=True)
        return None
    work.mkdir(parents=True, exist_ok=True)
    ok, began = True, time.monotonic()
    with tempfile.TemporaryDirectory(dir=work, prefix=f"show-{check.name}-", ignore_cleanup_errors=True) as room:
        figures = check.run(Room(Path(room), work, brief, part))
        with contextlib.closing(figures):
            try:
                for figure in figures:
                    print(line(figure), flush=True)
                    ok = ok and figure.ok
            except Exception as error:  # noqa: BLE001 - whatever went wrong, this check is short and the others go on
                told = tuple(traceback.format_exc().splitlines())
                print(
                    line(Figure("the check came to its end", type(error).__name__, "no error", False, told)), flush=True
                )
                ok = False
    print(f"  in {time.monotonic() - began:.0f} s", flush=True)
    return ok


def line(figure: Figure) -> str:
    verdict = "ok" if figure.ok else "short"
    first = f"  {figure.what:<62} {figure.figure:>14}  {figure.bound:>14}  {verdict}"
    details = [told for detail in figure.detail for told in detail.splitlines()]
    return "\n".join([first, *(f"      {told}" for told in details)])


if __name__ == "__main__":
    sys.exit(main())
