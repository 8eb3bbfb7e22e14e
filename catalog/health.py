"""What is known of damage: the images that it harms, kept in a small file for statistics and metrics.

It is found out anew each time; a file that is lost is written again by the next look.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from blockstore import verified_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from blockstore.bare_store import BareStore
    from catalog.inventory import HeldImage


@dataclass(frozen=True, slots=True)
class HarmedImage:
    """An image that cannot be read whole: how many of its blocks are damaged or missing; 0: its manifest is."""

    id: str
    name: str | None
    status: str
    blocks: int


@dataclass(frozen=True, slots=True)
class Health:
    """When it was found out (microseconds since 1970 UTC), how many blocks are marked, and the images harmed."""

    at: int
    bad_blocks: int
    harmed: Sequence[HarmedImage]


def named(images: Sequence[HeldImage], counts: Mapping[str, int]) -> list[HarmedImage]:
    """The images whose manifest is one of these, each with its count."""
    held = [(image, image.manifest) for image in images if image.manifest is not None]
    return [HarmedImage(image.id, image.name, image.status, counts[top]) for image, top in held if top in counts]


def keep(store: BareStore, health: Health) -> None:
    """Keep it in the place of what was kept before."""
    data = json.dumps(asdict(health), ensure_ascii=False).encode()
    verified_at.replace_file(_path_in(store.root), data, store.disk)


def health_of(data: Path) -> Health | None:
    """What is kept in a data directory, None if there is nothing that can be read."""
    try:
        document = json.loads(_path_in(data).read_bytes())
        return Health(document["at"], document["bad_blocks"], [HarmedImage(**image) for image in document["harmed"]])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path_in(data: Path) -> Path:
    return data / verified_at.FOLDER / "harmed.json"
