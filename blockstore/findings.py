"""What a verification found: the report, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from blockstore.block import Place

Digests: TypeAlias = set[bytes]
MOST: Final = 100_000
"""Findings that are kept; more are only counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong: in which file, from which byte up to which, what it is, and the block if one is known (hex).

    `harmless`: nothing that an image has is harmed, such as a damaged copy that no row names.
    """

    file: str
    begins: int
    ends: int
    what: str
    block: str | None = None
    harmless: bool = False


@dataclass(slots=True)
class Verified:
    """What was looked at, and what was found.

    `harmed` maps live manifests to how many of the blocks that they list are `lost`: damaged, or without a row.
    """

    data: bool
    manifests: int = 0
    packs: int = 0
    entries: int = 0
    dead_entries: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    found: int = 0
    marked_bad: int = 0
    harmed: dict[str, int] = field(default_factory=dict)
    lost: Digests = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    _told: set[tuple[str, int]] = field(default_factory=set)
    _stretches: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Nothing is wrong, and nothing that is known from before harms anybody."""
        return not (self.found or self.harmed)

    def add(self, finding: Finding) -> None:
        """Keep a finding, or count it."""
        self.found += 1
        if len(self.findings) < MOST:
            self.findings.append(finding)
        if finding.harmless:
            # A row that expects a block there is news.
            return
        self._told.add((finding.file, finding.begins))
        if finding.block is None:
            self._stretches.setdefault(finding.file, []).append((finding.begins, finding.ends))

    def tells_of(self, file: str, at: int) -> bool:
        """Whether a finding of harm covers what begins at this byte of a file, or the file is gone."""
        if (file, at) in self._told:
            return True
        return any(begins <= at < ends or begins == ends == 0 for begins, ends in self._stretches.get(file, ()))


@dataclass(slots=True)
class Suspects:
    """Blocks that a row names where they are not, or not whole: their digests, and the rows."""

    digests: Digests = field(default_factory=set)
    rows: list[tuple[bytes, Place]] = field(default_factory=list)

    def add(self, digest: bytes, place: Place) -> None:
        """One more."""
        self.digests.add(digest)
        self.rows.append((digest, place))
