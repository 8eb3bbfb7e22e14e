"""`python -m tests.model`: explore every model, or those that are named; or without the protections that are named."""

from __future__ import annotations

import argparse
import time

from tests.model.explore import explore
from tests.model.protections import protections, without
from tests.model.runs import NEEDED, RUNS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description="Explore the collection's protocol.")
    parser.add_argument("names", nargs="*", help="runs, or protections to be switched off; all runs if none is named")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the trace to what breaks")
    parser.add_argument("-b", "--broken", action="store_true", help="switch every protection off, one after another")
    wanted = parser.parse_args()
    names = wanted.names or list(RUNS)
    for run, off in NEEDED if wanted.broken else []:
        show(run, off, verbose=wanted.verbose)
    for name in [] if wanted.broken else names:
        if name in RUNS:
            show(name, None, verbose=wanted.verbose)
        for run, off in NEEDED:
            if off == name:
                show(run, off, verbose=wanted.verbose)
        if name not in RUNS and name not in {off for _, off in NEEDED}:
            parser.error(f"no run and no protection is called {name}: runs are {', '.join(RUNS)}")


def show(run: str, off: str | None, *, verbose: bool) -> None:
    model = RUNS[run] if off is None else without(RUNS[run], off)
    began = time.process_time()
    found = explore(model)
    seconds = time.process_time() - began
    print(f"{run}{'' if off is None else f' without {off}'}: {found.states} states, {seconds:.1f} s, ", end="")
    print("SAFE" if found.broken is None else f"BROKEN in {len(found.trace)} steps")
    if off is not None:
        print(f"   not kept: {protections(model)[off]}")
    if verbose and found.broken is not None:
        print(*(f"   {number:2} {line}" for number, line in enumerate(found.trace, 1)), sep="\n")
        print(f"      {found.broken}")


if __name__ == "__main__":
    main()
