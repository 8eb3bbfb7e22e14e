"""What is explored, and which protection each run shows to be needed. The README says why these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.model.leases import Leases
from tests.model.manifest_model import Manifests
from tests.model.pack_model import Packs
from tests.model.readers import Readers
from tests.model.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


RUNS: Final[Mapping[str, Leases | Packs | Snapshots | Manifests | Readers]] = {
    "leases-writers": Leases(writers=2, collectors=1, blocks=2),
    "leases-collectors": Leases(writers=1, collectors=2, blocks=2),
    "leases-both": Leases(writers=2, collectors=2, blocks=1),
    "leases-own-marks": Leases(writers=1, collectors=2, blocks=2, revives_own=True),
    "packs": Packs(writers=2, collectors=2, blocks=1, packs=3),
    "packs-one-writer": Packs(writers=1, collectors=2, blocks=1, packs=3),
    "packs-one-collector": Packs(writers=2, collectors=1, blocks=1, packs=3),
    "packs-check-after": Packs(writers=2, collectors=2, blocks=1, packs=3, check_after=True),
    "packs-shared": Packs(writers=2, collectors=2, blocks=1, packs=3, shared=True),
    "packs-two-blocks": Packs(writers=1, collectors=1, blocks=2, packs=2),
    "packs-compaction": Packs(writers=0, collectors=2, blocks=2, packs=3),
    "snapshots-manifests": Snapshots(writers=1, blocks=1, manifests=3),
    "snapshots-records": Snapshots(writers=1, blocks=2, manifests=2),
    "snapshots-writers": Snapshots(writers=2, blocks=1, manifests=2),
    "manifests": Manifests(writers=2, coalescers=1, collectors=1, manifests=4, images=2),
    "manifests-collectors": Manifests(writers=1, coalescers=1, collectors=2, manifests=4, images=2),
    "manifests-coalescers": Manifests(writers=1, coalescers=2, collectors=1, manifests=4, images=2),
    "manifests-lock-after": Manifests(writers=2, coalescers=0, collectors=2, manifests=3, images=2, lock_after=True),
    "manifests-register": Manifests(writers=1, coalescers=1, collectors=1, manifests=4, images=2, register=True),
    "readers": Readers(),
}
"""By name; each is explored to its end by `make test-models`."""

WIDEST: Final = 2500
"""States of one depth that are gone on from at every change: so many that any one protection is missed all the same."""

_NEEDED: Final[Mapping[str, Sequence[str]]] = {
    "leases-writers": (
        "lease_before_look",
        "lease_until_journaled",
        "lease_checked",
        "waits",
        "lists_late",
        "remarks",
        "journals_are_roots",
        "own_marks_only",
        "condemned_hidden",
        "put_clears_mark",
        "commit_checks_pin",
        "expiry_deletes",
    ),
    "leases-collectors": ("runs_have_names",),
    "packs-one-collector": (
        "put_refuses",
        "put_revives",
        "checked_when_retired",
        "retiring_first",
        "condemned_rows_count",
        "only_sealed_dropped",
        "synced_before_rows",
        "registered_before_file",
        "asks_owner",
    ),
    "packs": ("sealed_with_rows", "unlinked_before_dropped", "numbers_once"),
    "packs-check-after": ("checked_before_unlinked",),
    "packs-shared": ("move_refuses",),
    "snapshots-manifests": ("retired_are_read",),
    "snapshots-records": (
        "looks_again",
        "one_snapshot",
        "notes_acknowledged",
        "reads_to_its_end",
        "journals_read_on",
        "new_pins_read",
        "orphans_deleted",
        "new_by_id",
    ),
    "manifests-coalescers": (
        "locked_when_visible",
        "locked_until_commit",
        "catalog_after_lock",
        "retiring_asks_images",
        "retiring_asks_pins",
        "retiring_asks_children",
        "retired_at_once",
        "begin_asks_base",
        "commit_asks_pin",
        "swap_compares",
        "retired_before_unlinked",
    ),
    "manifests-collectors": ("names_once",),
    "manifests-register": ("row_before_file", "commit_needs_row", "catalog_after_listing"),
    "readers": (
        "location_again",
        "place_again",
        "as_long_as_it_moves",
        "sees_condemned",
        "rows_move_first",
        "swapped_first",
    ),
}

NEEDED: Final = tuple((run, off) for run, several in _NEEDED.items() for off in several)
"""A run, and a protection without which it breaks."""

NOT_NEEDED: Final = (
    ("packs-compaction", "move_compares"),
    ("packs-one-writer", "asks_flock"),
    ("packs-one-writer", "register_read_again"),
    ("manifests-coalescers", "commit_asks_base"),
)
"""A run, and a protection without which it is safe all the same: what the README calls a second line."""
