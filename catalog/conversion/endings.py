"""Whose fault it is that a program in the cage did not come to its end: of the file that it read, or the machine's."""

from __future__ import annotations

from signal import Signals
from typing import TYPE_CHECKING, Final

from catalog.model.errors import ConversionFailed, ConversionRefused

if TYPE_CHECKING:
    from catalog.conversion.cage import Ended

_OF_THE_MACHINE: Final = frozenset({Signals.SIGKILL, Signals.SIGTERM, Signals.SIGINT, Signals.SIGHUP})
_WALLS: Final = ("setpriv: ", "unshare: ", "prlimit: ", "nice: ", "sh: ")


def fault_of(ended: Ended, what: str) -> Exception | None:
    """The error of a run of `what` that a signal ended, or that did not begin; None if it ended by itself."""
    if ended.by in _OF_THE_MACHINE:
        return ConversionFailed(f"{what} was ended from outside ({ended.by.name if ended.by else ''}).")
    if ended.by is Signals.SIGXCPU:
        return ConversionRefused("The image takes more processor time than a conversion may (convert_cpu_time).")
    if ended.by is Signals.SIGXFSZ:
        return ConversionRefused(TOO_LONG)
    if ended.by is not None:
        return ConversionRefused(
            f"The image broke {what} ({ended.by.name}), or takes more memory than it may (convert_memory)."
        )
    first = ended.err.lstrip().partition(b"\n")[0].decode(errors="replace")
    if ended.code and first.startswith(_WALLS):
        return ConversionFailed(f"{what} could not be started in its cage: {first[:200]}.")
    return None


TOO_LONG: Final = "The image becomes longer than the disk in it, so it is damaged or meant to do harm."
