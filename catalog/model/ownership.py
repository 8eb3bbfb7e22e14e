"""Giving what one project owns to another: what is to be given, and how much it was."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Handover:
    """From the project `giver` to the project `taker`: all that is the giver's, or only these images."""

    giver: str
    taker: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handed:
    """How many rows of each kind were given, or would be.

    `deleted` can be brought back, `former` are ids that were used. `members`: images that are shared with the giver;
    `namespaces` of metadata definitions.
    """

    images: int = 0
    deleted: int = 0
    former: int = 0
    uploads: int = 0
    tasks: int = 0
    members: int = 0
    namespaces: int = 0

    def fills(self, most: int) -> bool:
        """Whether it is as many of some kind as were asked for at once, so that more may be left."""
        kinds = (self.images, self.deleted, self.former, self.uploads, self.tasks, self.members, self.namespaces)
        return any(number >= most for number in kinds)

    def __add__(self, other: Handed) -> Handed:
        """The sum of each kind."""
        return Handed(
            self.images + other.images,
            self.deleted + other.deleted,
            self.former + other.former,
            self.uploads + other.uploads,
            self.tasks + other.tasks,
            self.members + other.members,
            self.namespaces + other.namespaces,
        )
