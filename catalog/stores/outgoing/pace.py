"""How fast a server must give: who sends a byte now and then is never silent, and would keep a reader for ever."""

from __future__ import annotations

from typing import Final

SLOWEST: Final = 16 << 10
"""Bytes a second."""


class Pace:
    """Looks, after each `seconds` of waiting in all, whether SLOWEST bytes have come for each of them.

    Only waiting counts, not what is done with the bytes in between.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Since the last look.
        self._waited, self._came = 0.0, 0

    def is_kept(self, waited: float, came: int) -> bool:
        """So many bytes came after so long; False: they come too slowly."""
        self._waited += waited
        self._came += came
        if self._waited < self._seconds:
            return True
        kept = self._came >= SLOWEST * self._waited
        self._waited, self._came = 0.0, 0
        return kept
