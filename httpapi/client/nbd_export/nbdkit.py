"""nbdkit: whether it is here with what is needed, and its command line for an image. Nothing secret is in it.

From the guest to the service: `exportname` serves this image's id alone, so that no overlay meets another image;
`cow` takes what is written, and keeps what was read; `extentlist` tells the holes; `retry-request` waits for a service
that is away; the `curl` plugin asks for ranges.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from httpapi.client.errors import ProgramMissing
from httpapi.client.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Sequence

FETCHED_AT_ONCE: Final = 1 << 20
"""A range costs the service some 4 ms, whatever its length: by 64 KiB a guest reads 20 MB/s, by 1 MiB 150."""
SMALLEST_FETCH, LARGEST_FETCH = 64 << 10, 32 << 20
_FILTERS: Final = ("exportname", "cow", "extentlist", "retry-request")
_LEAST: Final = (1, 30)
# For one range. A service that is frozen is asked again after this, on another connection.
_ANSWER_SECONDS: Final = 60
_HEADERS_AGAIN_SECONDS: Final = 5
_WHOLE: Final = (
    "`apt install nbdkit` (Debian 12, Ubuntu 23.04 or newer) or `dnf install nbdkit` (Fedora) brings all of it"
)


@dataclass(frozen=True, slots=True)
class Served:
    """What is served and how: `headers` is a file of request headers, read again and again; `extents` one of data."""

    url: str
    export: str
    headers: Path | None = None
    extents: Path | None = None
    cacert: Path | None = None
    read_only: bool = False
    patience: int = 300
    fetch: int = FETCHED_AT_ONCE


@dataclass(frozen=True, slots=True)
class Nbdkit:
    """One that was found; `reads_ahead` where its curl plugin takes requests side by side (1.34 and newer)."""

    program: str
    reads_ahead: bool

    def command(self, served: Served) -> list[str]:
        """Its command line; the socket comes by systemd's protocol, the errors go to standard error."""
        # Whoever may write turns holes into data, which `cow` knows. Else holes stay holes, though they were read.
        kept = ("extentlist", "cow") if served.read_only else ("cow", "extentlist")
        filters = ["exportname", *(("readahead",) if self.reads_ahead else ()), *kept, "retry-request"]
        if served.extents is None:
            filters.remove("extentlist")
        return [
            *(self.program, "--foreground", "--log=stderr", *(("--readonly",) if served.read_only else ())),
            *(f"--filter={name}" for name in filters),
            *("curl", f"url={served.url}", "protocols=http,https", "followlocation=false", "proxy="),
            *(f"timeout={_ANSWER_SECONDS}", "tcp-keepalive=true"),
            # Both the name that overlays keep and none at all.
            *("exportname-strict=true", "exportname-list=explicit", f"exportname={served.export}", "exportname="),
            *(f"cow-block-size={served.fetch}", "cow-on-read=true", *(("cow-on-cache=true",) * self.reads_ahead)),
            *(f"retry-request-retries={served.patience}", "retry-request-delay=1"),
            *((f"extentlist={served.extents}",) if served.extents is not None else ()),
            *((f"cainfo={served.cacert.absolute()}",) if served.cacert is not None else ()),
            *(_headers_from(served.headers) if served.headers is not None else ()),
        ]


def find_nbdkit() -> Nbdkit:
    """The one that is installed; ProgramMissing says what it lacks and what to install."""
    program = find_program("nbdkit", "with its curl plugin")
    told = _ask(program, "--dump-plugin", "curl")
    if "name" not in told:
        raise ProgramMissing(f"nbdkit has no curl plugin: {_WHOLE} (there, nbdkit-curl-plugin)")
    version = re.match(r"(\d+)\.(\d+)", told.get("version", ""))
    if version is None or (int(version[1]), int(version[2])) < _LEAST:
        least = ".".join(str(number) for number in _LEAST)
        raise ProgramMissing(f"nbdkit {told.get('version')} is too old, {least} is needed: {_WHOLE}")
    directory = Path(_ask(program, "--dump-config").get("filterdir", "/"))
    lacking = [name for name in _FILTERS if not (directory / f"nbdkit-{name}-filter.so").exists()]
    if lacking:
        raise ProgramMissing(f"nbdkit lacks its filters {', '.join(lacking)}: {_WHOLE} (there, nbdkit-basic-filters)")
    ahead = (directory / "nbdkit-readahead-filter.so").exists()
    return Nbdkit(program, reads_ahead=ahead and told.get("max_thread_model") == "parallel")


def _headers_from(file: Path) -> Sequence[str]:
    # A file and not the words themselves: who can see processes sees command lines.
    return f"header-script=exec cat {shlex.quote(str(file))}", f"header-script-renew={_HEADERS_AGAIN_SECONDS}"


def _ask(program: str, *arguments: str) -> dict[str, str]:
    """The lines `name=value` that it answers with; empty if it refuses."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
