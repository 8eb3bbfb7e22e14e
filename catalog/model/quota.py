"""Quotas: how much a project may have, what it has, and the sentence when that is not enough."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

from catalog.model.errors import QuotaExceeded

UNLIMITED: Final = -1
"""What is said where there shall be no bound, whatever others say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a project has, or what is asked for: images, their bytes; uploads under way, bytes reserved for them."""

    images: int = 0
    bytes: int = 0
    uploads: int = 0
    staged_bytes: int = 0

    @property
    def all_bytes(self) -> int:
        """What counts for the quota of bytes: what is staged becomes an image's."""
        return self.bytes + self.staged_bytes

    def used(self, name: str) -> int:
        """What counts for the quota of this name."""
        return self.all_bytes if name == "bytes" else int(getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Bounds by the name of what they bound; None: nothing is said of it, UNLIMITED: there is none."""

    images: int | None = None
    bytes: int | None = None
    uploads: int | None = None
    staged_bytes: int | None = None

    def over(self, other: Quota) -> Quota:
        """What this one says, and where it says nothing what the other does."""
        unsaid = {name: getattr(other, name) for name in NAMES if getattr(self, name) is None}
        return replace(self, **unsaid)

    def limit(self, name: str) -> int | None:
        """The bound of this name, if there is one."""
        said: int | None = getattr(self, name)
        return None if said is None or said < 0 else said

    @property
    def is_off(self) -> bool:
        """Whether nothing is bounded."""
        return all(self.limit(name) is None for name in NAMES)

    def room(self, usage: Usage) -> int | None:
        """How many bytes more may come, 0 at least; None: any number."""
        limits = ((name, self.limit(name)) for name in ("bytes", "staged_bytes"))
        left = [limit - usage.used(name) for name, limit in limits if limit is not None]
        return max(0, min(left)) if left else None

    def check(self, project: str, usage: Usage, asked: Usage) -> None:
        """Refuse what does not fit: QuotaExceeded. What asks for nothing of a kind fits, however much there is."""
        for name in NAMES:
            limit, wanted, used = self.limit(name), asked.used(name), usage.used(name)
            if limit is not None and wanted and used + wanted > limit:
                sentence = _SENTENCES[name].format(project=project[:80], used=used, limit=limit, n=wanted)
                raise QuotaExceeded(sentence, name)


NAMES: Final = tuple(field.name for field in fields(Quota))
NO_QUOTA: Final = Quota()

_SENTENCES: Final = {
    "images": (
        "Project {project!r} has {used} images, and its quota of images is {limit}: delete one first, or ask whoever "
        "runs this service for a larger quota."
    ),
    "bytes": (
        "Project {project!r} uses {used} of the {limit} bytes that its quota gives its images, uploads under way "
        "included, and {n} more were asked for: delete images first, or ask whoever runs this service for a larger "
        "quota."
    ),
    "uploads": (
        "Project {project!r} has {used} uploads under way, and its quota of uploads is {limit}: wait until one ends, "
        "or give a delta upload up that nobody goes on with."
    ),
    "staged_bytes": (
        "Uploads under way use {used} of the {limit} bytes that the quota of project {project!r} gives them, and {n} "
        "more were asked for: wait until some end, or ask whoever runs this service for a larger quota."
    ),
}
