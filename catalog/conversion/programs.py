"""Where the server's side finds the programs of others that it runs, and what to install where one is missing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Final

from catalog.model.errors import ConversionUnavailable


@dataclass(frozen=True, slots=True)
class Program:
    """A program by its name, and the packages that have it."""

    name: str
    debian: str
    fedora: str

    def path(self) -> str:
        """Its whole path. Raises ConversionUnavailable."""
        if (found := shutil.which(self.name)) is None:
            raise ConversionUnavailable(
                f"{self.name} is not installed, which conversions need: `apt install {self.debian}` on Debian and "
                f"Ubuntu, `dnf install {self.fedora}` on Fedora."
            )
        return found


QEMU_IMG: Final = Program("qemu-img", "qemu-utils", "qemu-img")
PRLIMIT: Final = Program("prlimit", "util-linux", "util-linux")
SETPRIV: Final = Program("setpriv", "util-linux", "util-linux")
UNSHARE: Final = Program("unshare", "util-linux", "util-linux")
NICE: Final = Program("nice", "coreutils", "coreutils")
SH: Final = Program("sh", "dash", "bash")
