"""Manifests: their files and rows, the images and pins that name them, bases, coalescing, retirement, removal.

A file is there before its row says so, and after it no longer does. Two ways to tell a file that is about to be
committed from one that nobody wants are explored, each of them enough:

- `register=False`: the writer holds a flock on the file until its commit has ended; a collector lists files, takes the
  lock, reads the catalog, unlinks.
- `register=True`: a row in state `new` is committed before the file is made, with the pin that it belongs to; the
  commit makes it live. A collector retires new rows without a pin. A file that it lists and that then has no row is
  nobody's for ever, since names are given once.

Blocks are kept by live manifests and by journals of live pins, and forgotten in any order otherwise: the models of
leases and of snapshots show that this is so. Manifest 0 is image 0's and lists X; uploads list Y over a base, or both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.model.protections import protection, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.explore import Parts

BLOCKS: Final = "XY"
NOBODY: Final = -1
DELETED: Final = -2


class Manifest(NamedTuple):
    """`row`: never (the name is free), none, new, live, retired, gone. `pinned`: a new row's pin is there.

    `doubted`: somebody found that nothing names it, and will retire it in a transaction of its own.
    """

    row: str = "never"
    base: int = NOBODY
    lists: int = 0
    file: bool = False
    locked: bool = False
    pinned: bool = False
    doubted: bool = False


class Store(NamedTuple):
    """Blocks as bits, manifests, what each image names, and how many pins hold each manifest and each block."""

    blocks: int
    manifests: tuple[Manifest, ...]
    images: tuple[int, ...]
    held: tuple[int, ...]
    journaled: tuple[int, ...]

    def change(self, number: int, **changes: Any) -> Store:
        manifest = self.manifests[number]._replace(**changes)
        if manifest.row == "gone" and not manifest.file:
            manifest = Manifest("gone")
        if manifest.row == "none" and not manifest.file:
            manifest = Manifest("none")
        return self._replace(manifests=replaced(self.manifests, number, manifest))

    def hold(self, number: int, more: int) -> Store:
        return self._replace(held=replaced(self.held, number, self.held[number] + more))

    def journal(self, blocks: int, more: int) -> Store:
        journaled = tuple(count + more * (blocks >> at & 1) for at, count in enumerate(self.journaled))
        return self._replace(journaled=journaled)

    def chain(self, number: int) -> int:
        """The blocks that a reader of this manifest sees."""
        blocks = 0
        while number >= 0:
            blocks |= self.manifests[number].lists
            number = self.manifests[number].base
        return blocks

    def readable(self, number: int) -> bool:
        """Whether the files of the whole chain are there."""
        while number >= 0:
            if not self.manifests[number].file:
                return False
            number = self.manifests[number].base
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRules:
    """What the model's parts go by."""

    manifests: int = 4
    images: int = 3
    register: bool = False
    lock_after: bool = False
    """A file is seen before it is locked; then its maker looks whether it has the lock and the file its name."""
    locked_when_visible: bool = protection("a manifest's file is locked before it has the name that listings show")
    locked_until_commit: bool = protection("the lock is held until the commit has ended")
    catalog_after_lock: bool = protection("the catalog is read after the file's lock was taken")
    row_before_file: bool = protection("the row `new` is committed before the file is made")
    commit_needs_row: bool = protection("a commit turns the row from new to live, and is refused if there is none")
    catalog_after_listing: bool = protection("the catalog is read after the files were listed")
    retiring_asks_images: bool = protection("a manifest that an image names is not retired")
    retiring_asks_pins: bool = protection("a manifest that a pin holds as base is not retired")
    retiring_asks_children: bool = protection("a manifest that a live one has as base is not retired")
    retired_at_once: bool = protection("asking who names a manifest and retiring it are one transaction")
    begin_asks_base: bool = protection("a pin on a base is made only while that is live, in one transaction")
    commit_asks_pin: bool = protection("a commit deletes its pin's row, and is refused if there is none")
    commit_asks_base: bool = protection("a commit over a base is refused unless that is live")
    swap_compares: bool = protection("coalescing swaps only if the image still names the chain that was read")
    retired_before_unlinked: bool = protection("a manifest is unlinked only after it was retired")
    names_once: bool = protection("a manifest's name is never used again")

    def new(self, store: Store) -> int | None:
        """A name for a new manifest."""
        free = ("never",) if self.names_once else ("never", "gone")
        manifests = enumerate(store.manifests)
        return next((at for at, manifest in manifests if manifest.row in free and not manifest.file), None)

    def let_go(self, store: Store, number: int) -> Store:
        """Something that named this manifest is gone: retire it if nothing does, then its base on the same terms."""
        while number >= 0 and store.manifests[number].row == "live" and not self.is_named(store, number):
            if not (self.retired_at_once and self.retired_before_unlinked):
                return store.change(number, doubted=True)
            store, number = store.change(number, row="retired"), store.manifests[number].base
        return store

    def is_named(self, store: Store, number: int) -> bool:
        children = [each for each in store.manifests if each.row == "live" and each.base == number]
        return (
            (self.retiring_asks_images and number in store.images)
            or (self.retiring_asks_pins and store.held[number] > 0)
            or (self.retiring_asks_children and bool(children))
        )


def lost(store: Store) -> str | None:
    for number, manifest in enumerate(store.manifests):
        if manifest.row == "live":
            if not manifest.file:
                return f"manifest {number} is live, and its file is gone"
            if manifest.base >= 0 and store.manifests[manifest.base].row != "live":
                return f"manifest {number} is live, and its base {manifest.base} is not"
            if manifest.lists & ~store.blocks:
                return f"manifest {number} is live and lists a block that was forgotten"
    named = [number for number in store.images if number >= 0 and store.manifests[number].row != "live"]
    return f"an image names manifest {named[0]}, which is not live" if named else None


def elsewhere(rules: ManifestRules, store: Store) -> Iterator[tuple[str, Parts]]:
    """Users who delete images, and the collector of blocks."""
    for image, number in enumerate(store.images):
        if number >= 0:
            gone = store._replace(images=replaced(store.images, image, DELETED))
            yield f"image {image} is deleted", (rules.let_go(gone, number),)
    kept = 0
    for number, manifest in enumerate(store.manifests):
        if manifest.doubted:
            named = manifest.row != "live" or (rules.retired_at_once and rules.is_named(store, number))
            settled = store.change(number, doubted=False, row=manifest.row if named else "retired")
            yield f"manifest {number}, which nothing named a moment ago, is {settled.manifests[number].row}", (settled,)
        kept |= manifest.lists if manifest.row == "live" else 0
    for block, name in enumerate(BLOCKS):
        if store.blocks & ~kept & 1 << block and not store.journaled[block]:
            yield f"block {name} is forgotten", (store._replace(blocks=store.blocks & ~(1 << block)),)
