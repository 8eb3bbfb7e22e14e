"""A machine that can be backed up, as `backup.py` needs it; `qemu.py` is one by QMP, `domain.py` one by libvirt.

A *mark* is what the hypervisor has that knows what was written since a backup: a dirty bitmap of QEMU's on each disk,
or a checkpoint of libvirt's. Its name, PREFIX and the backup's group, is all that is remembered on its side; a bitmap's
has the disk's, too, since disks change their names with a machine's settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from httpapi.client.errors import SourceRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX: Final = "drystone-"
"""What the names of all that a backup makes in a hypervisor begin with."""
STUCK: Final = "stuck: "
"""What `freezer.py` begins with when it can't thaw."""


class MachineRefused(SourceRefused):
    """The hypervisor, or what goes between, does not do what a backup needs; the message says what to do."""


class Unanswered(MachineRefused):
    """Nobody said yes or no in time: what was asked for may be done, or come to be done later."""


class MarkLost(MachineRefused):
    """The hypervisor can't tell any more what was written since a mark: a whole read can go on all the same."""


@dataclass(frozen=True, slots=True)
class Disk:
    """`name` tells it from the machine's others, `size` is in bytes; without `marks` nothing is remembered of it."""

    name: str
    size: int
    marks: bool = True


@dataclass(frozen=True, slots=True)
class Mark:
    """One disk's share of a mark; without `usable` it is known that it tells of no moment of this disk.

    `was` is what the backup called the disk: its image there is the one that the mark goes on from.
    """

    group: str
    disk: str
    was: str
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Export:
    """A disk as it was at the point in time: an NBD address, and the bitmap of it that has what to read, if any."""

    uri: str
    bitmap: str | None


class Machine(Protocol):
    """Asked by one thread, in a straight line; each call takes seconds at most. All raise MachineRefused."""

    name: str | None
    """What the hypervisor calls it, if it does."""

    def tidy(self) -> bool:
        """Ends what a run that was killed left of a point in time; whether there was anything. Marks stay."""

    def disks(self) -> Sequence[Disk]:
        """Those that are written to, in the machine's order."""

    def marks(self) -> Sequence[Mark]:
        """What there is of earlier backups, in any order."""

    def description(self) -> str:
        """What the machine has to be made of again: libvirt's XML, or JSON with what QEMU tells."""

    def begin(self, group: str, since: Mapping[str, str | None], *, freeze: bool | None) -> Mapping[str, Export]:
        """A point in time, one for all disks that `since` names: an export for each, and a new mark for `group`.

        `since` has the group of the mark by which a disk is to be read, None to read all of it. MarkLost if such a one
        turns out to be of no use; nothing is left of the try then. `freeze` says whether the guest's file systems are
        to be frozen around the moment; None: if its agent answers.
        """

    @property
    def frozen(self) -> int | None:
        """How many file systems were frozen for the point in time; None if none could be."""

    def end(self) -> None:
        """The point in time ends, with all that was made for it but its mark; nothing to do if there is none."""

    def forget(self, group: str) -> None:
        """Removes that group's mark from all disks; nothing to do if there is none."""

    def close(self) -> None:
        """Lets go of the hypervisor."""
