"""What the catalog knows of a manifest: its name, its place in a chain, and whether it is still a root."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ManifestState(StrEnum):
    """A live manifest holds its blocks; a retired one will be unlinked and never comes back."""

    LIVE = "live"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest's record.

    `id` is its file's name (32 hex digits, never used again), `digest` the 32 bytes that the file must have,
    `base` the id of the manifest read below it, `depth` the manifests below it, `size` the image's bytes. `listed` are
    the bytes of the data blocks that it lists itself, None where an older version did not keep them.
    """

    id: str
    digest: bytes
    base: str | None
    depth: int
    size: int
    listed: int | None = None
    state: ManifestState = ManifestState.LIVE


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest to open: its file's name and the digest that the file must have."""

    name: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A manifest of a chain, and whether it is the manifest of an image that is there or can be brought back."""

    manifest: Manifest
    has_image: bool
