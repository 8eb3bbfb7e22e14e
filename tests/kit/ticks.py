"""A clock of a test's own."""

from __future__ import annotations


class Ticks:
    """Seconds that go on when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
