"""Runs tempest's tests of images in `.tempest`, the environment that has it, and nothing of ours.

`python run_tests.py CONFIGURATION RESULTS WORKERS` writes a line of JSON to RESULTS for each test: its name, how it
ended and why. Classes are dealt out to so many processes, as stestr does it; what befell a class, befell all its tests.
"""
# mypy: ignore-errors

import json
import multiprocessing
import os
import re
import sys
import time
import unittest
import warnings
from pathlib import Path

LONGEST = 4000
CLASSES = {}


class Told(unittest.TestResult):
    """Keeps how each test ended: `passed`, `skipped` or `failed`, and why."""

    def __init__(self):
        super().__init__()
        self.ends = {}

    def addSuccess(self, test):
        self._ended(test, "passed")

    def addSkip(self, test, reason):
        self._ended(test, "skipped", reason)

    def addError(self, test, err):
        self._ended(test, "failed", self._exc_info_to_string(err, test))

    def addFailure(self, test, err):
        self.addError(test, err)

    def addUnexpectedSuccess(self, test):
        self._ended(test, "failed", "It was expected to fail.")

    def _ended(self, test, how, why=""):
        # A test that failed and was then cleaned up with an error has failed once.
        if self.ends.get(name_of(test), ("",))[0] != "failed":
            self.ends[name_of(test)] = (how, why[-LONGEST:])


def name_of(test):
    """The name without the marks that tempest puts behind it."""
    return test.id().partition("[")[0]


def run_class(name):
    """How each test of a class ended."""
    told, begun = Told(), time.monotonic()
    unittest.TestSuite(CLASSES[name]).run(told)
    names = [name_of(test) for test in CLASSES[name]]
    of_all = [end for each, end in told.ends.items() if each not in names]
    ends = {each: told.ends.get(each) or (of_all or [("failed", "It did not run.")])[0] for each in names}
    for how, why in of_all:
        if how == "failed":
            ends[names[0]] = (how, why)
    return [{"test": each, "end": how, "why": why} for each, (how, why) in ends.items()], time.monotonic() - begun


def tests_in(suite):
    """The single tests of a suite."""
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from tests_in(each)
        else:
            yield each


def main(configuration, results, workers):
    """Run them all."""
    warnings.simplefilter("ignore")
    os.environ |= {"TEMPEST_CONFIG_DIR": str(configuration.parent), "TEMPEST_CONFIG": configuration.name}
    from tempest.api import image

    loader = unittest.TestLoader()
    # As deep as `tempest.api.image` stands.
    found = loader.discover(str(Path(image.__file__).parent), top_level_dir=str(Path(image.__file__).parents[3]))
    if loader.errors:
        sys.exit("\n".join(loader.errors))
    for test in tests_in(found):
        CLASSES.setdefault(re.sub(r"\.[^.]*$", "", name_of(test)), []).append(test)
    with results.open("w", encoding="utf-8") as out, multiprocessing.get_context("fork").Pool(workers) as pool:
        for ends, seconds in pool.imap_unordered(run_class, sorted(CLASSES)):
            out.writelines(f"{json.dumps(end)}\n" for end in ends)
            print(f"{seconds:6.1f} s {ends[0]['test'].rpartition('.')[0]}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
