"""What the names in a backup are as names of files: the service tells them, and machines have all kinds of names."""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from httpapi.client.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterable

# No path, and nothing that a shell or a terminal takes for its own; letters and digits of any script.
_UNFIT: Final = re.compile(r"[^\w.-]")
# Nothing hidden, no option.
_UNFIT_FIRST: Final = re.compile(r"^[.-]")
_LONGEST: Final = 200
"""Bytes; file systems take 255, and there is more to a file's name."""


def file_name(name: str) -> str:
    """The name itself where that can be; `_` for each character that a file's name should not have."""
    fit = _UNFIT_FIRST.sub("_", _UNFIT.sub("_", unicodedata.normalize("NFC", name)))
    try:
        os.fsencode(fit)
    except UnicodeEncodeError:
        # The user's locale has no such letters.
        fit = re.sub(r"[^\x00-\x7f]", "_", fit)
    while len(os.fsencode(fit)) > _LONGEST:
        fit = fit[:-1]
    if not fit:
        raise ClientError("the backup has a disk or a machine without a name: pull its images one by one")
    return fit


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Each with its file's; ClientError if two of them would be the same file."""
    found: dict[str, str] = {}
    for name in names:
        fit = file_name(name)
        if (other := next((each for each in found if found[each] == fit), None)) is not None:
            raise ClientError(
                f"the disks {other!r} and {name!r} would both be {fit}: restore them with --disk, each to a directory "
                "of its own"
            )
        found[name] = fit
    return found
