"""What a cage is made of on this machine: programs of util-linux, one before the other, each of which takes something.

From the outside in: the process dies with its parent; it has namespaces of its own, so it sees no network and no other
process, and all that it starts dies with it; it may take so much and no more; it gives way to others; it is a user who
owns nothing, has no capability and can get none. What the kernel or a container does not allow is left out, and told.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from catalog.conversion import programs
from catalog.model.errors import ConversionUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "MALLOC_ARENA_MAX": "2"}
"""All that a caged program knows; the last so that its address space is what it uses, not what it might."""

ENDED: Final = b"\nended with "
"""Begins the last line on standard error of a program in namespaces: what it ended with, as a shell says it."""

_DIES_WITH_PARENT: Final = ("--pdeathsig", "KILL")
_NAMESPACES: Final = ("--net", "--ipc", "--pid", "--fork", "--kill-child")
# Of the system's /proc, `/proc/PID/cwd` leads into the room of another cage of the same user, past all directories.
_OWN_PROCESSES: Final = "--mount-proc"
# The shell is the namespace's first process: it reaps, and tells of which signal a program died, as unshare does not.
_AND_TELL: Final = '"$@"; printf "\\nended with %d\\n" "$?" >&2'
_NICENESS: Final = 10
_OPEN_FILES: Final = 64
_PROCESSES: Final = 512
_PROBE_SECONDS: Final = 10.0
_WITHOUT_NETWORK_MISSING: Final = (
    "unshare is not allowed here, so converted files are read by a program that could reach the network and see other "
    "processes: allow user namespaces, or what containers call CAP_SYS_ADMIN."
)
_PROCESSES_MISSING: Final = (
    "A /proc of its own is not allowed here, so a program that reads a converted file, and was taken over by it, could "
    "reach the files of other conversions that run meanwhile: allow mounts of proc, or run the service not as root."
)


@dataclass(frozen=True, slots=True)
class Guest:
    """The user whom caged programs run as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one caged program may take: seconds of processor time, bytes of memory and of its longest file."""

    cpu_time: int
    memory: int
    file_size: int


@dataclass(frozen=True, slots=True)
class Walls:
    """How programs are run here. `guest`: None, as the service itself; `missing`: sentences for the operator.

    `alone`: in namespaces of their own; `sees_others`: in these, but with the system's /proc.
    """

    guest: Guest | None
    alone: bool
    sees_others: bool = False
    missing: tuple[str, ...] = ()

    def around(self, command: Sequence[str], bounds: Bounds, *, enters_itself: bool = False) -> list[str]:
        """The command in its cage; `enters_itself`: it becomes the guest by itself, once it has what it needs."""
        inner = list(self._as_guest(enters_itself=enters_itself))
        outer = [programs.SETPRIV.path(), *_DIES_WITH_PARENT]
        if self.alone:
            user = () if self.guest is not None else ("--user", "--map-root-user")
            processes = () if self.sees_others else (_OWN_PROCESSES,)
            outer += [programs.UNSHARE.path(), *user, *_NAMESPACES, *processes]
            inner += [programs.SH.path(), "-c", _AND_TELL, "sh"]
        return [*outer, *_bounded(bounds, users=self.guest is not None), *inner, *command]

    def _as_guest(self, *, enters_itself: bool) -> Iterator[str]:
        yield programs.SETPRIV.path()
        yield "--no-new-privs"
        # Becoming somebody else forgets what was said of the parent's death.
        yield from _DIES_WITH_PARENT
        if self.guest is not None or self.alone:
            # To become somebody takes two of them, which go with that.
            yield f"--bounding-set=-all{',+setuid,+setgid' if enters_itself and self.guest is not None else ''}"
        if self.guest is not None and not enters_itself:
            yield from (f"--reuid={self.guest.uid}", f"--regid={self.guest.gid}", "--clear-groups")

    def describe(self) -> str:
        """In a few words, for `config check`."""
        who = "as the service's own user" if self.guest is None else f"as {self.guest.name}"
        if not self.alone:
            return f"{who}, NOT cut off from the network"
        # A user namespace for each keeps them from each other, too.
        within_reach = self.sees_others and self.guest is not None
        return f"{who}, without network, other processes {'NOT ' if within_reach else ''}out of its reach"


def walls_of(user: str) -> Walls:
    """The strongest cage that this machine allows; `user` is whom a service that runs as root uses for it.

    Takes some hundredths of a second. Raises ConversionUnavailable where there is none at all.
    """
    guest = _guest(user) if os.geteuid() == 0 else None
    without_proc = (_PROCESSES_MISSING,) if guest is not None else ()
    for walls in (
        Walls(guest, alone=True),
        Walls(guest, alone=True, sees_others=True, missing=without_proc),
        Walls(guest, alone=False, missing=(_WITHOUT_NETWORK_MISSING,)),
    ):
        if _holds(walls):
            return walls
    raise ConversionUnavailable(
        f"Programs that read what others sent cannot be run as {user}, which a service that is root needs: allow it "
        "setuid, or do not run it as root."
        if guest is not None
        else "Programs that read what others sent cannot be run with setpriv and prlimit here."
    )


def _guest(user: str) -> Guest:
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise ConversionUnavailable(f"There is no user {user} here, whom convert_user names.") from None
    if found.pw_uid == 0:
        raise ConversionUnavailable("convert_user is root: name a user that may do nothing, such as nobody.")
    return Guest(found.pw_name, found.pw_uid, found.pw_gid)


def _bounded(bounds: Bounds, *, users: bool) -> list[str]:
    # Processes are counted a user, not a cage: where it is the service's own user, its threads would count, too.
    processes = [f"--nproc={_PROCESSES}"] if users else []
    return [
        programs.PRLIMIT.path(),
        # The second: should it not end at the first, of which it is told.
        f"--cpu={bounds.cpu_time}:{bounds.cpu_time + 5}",
        f"--as={bounds.memory}",
        f"--fsize={bounds.file_size}",
        "--core=0",
        f"--nofile={_OPEN_FILES}",
        *processes,
        programs.NICE.path(),
        "-n",
        str(_NICENESS),
    ]


def _holds(walls: Walls) -> bool:
    command = walls.around(["true"], Bounds(cpu_time=10, memory=1 << 30, file_size=0))
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and nobody's words in it
            command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stderr.endswith(ENDED + b"0\n") if walls.alone else done.returncode == 0
