"""Downloads beside everything that moves what they read: compaction, coalescing, condemnation. The image stays.

A reader reads the location, opens the manifest, has the place of a block from there or from the index, opens the pack.
Between any two of these steps it may stand still for as long as it likes. Whatever it has opened it can read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tests.model.explore import Actor, Parts, Quiet, Rule
from tests.model.protections import protection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Store(NamedTuple):
    """The image's manifest and which have a file (bits); the row's pack, its mark, and which packs have a file."""

    manifest: int
    manifests: int
    pack: int
    condemned: bool
    packs: int


class Reader(NamedTuple):
    """The manifest and the pack that it goes to; how often it has asked the index."""

    at: str = "idle"
    manifest: int = -1
    pack: int = -1
    asked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """See the module. `names`: how many manifests and packs there may be; each is given once."""

    names: int = 4
    location_again: bool = protection("whoever finds a manifest gone reads the location again")
    place_again: bool = protection("whoever finds a pack gone asks the index")
    as_long_as_it_moves: bool = protection("it asks again for as long as the index names another place than before")
    sees_condemned: bool = protection("reads see condemned rows")
    rows_move_first: bool = protection("rows have moved before the old pack is unlinked")
    swapped_first: bool = protection("the image has its flat manifest before the old one is unlinked")

    @property
    def start(self) -> Parts:
        return (Store(0, 1, 0, condemned=False, packs=1), Reader())

    @property
    def actors(self) -> Sequence[Actor]:
        return [Actor("elsewhere", (0,), self.elsewhere), Actor("reader", (0, 1), self.read)]

    @property
    def rules(self) -> Sequence[Rule]:
        return [Rule((1,), lambda me: "a download of a live image fails" if me.at == "failed" else None)]

    @property
    def quiet(self) -> Quiet | None:
        return None

    @property
    def alike(self) -> Sequence[tuple[int, int]]:
        return []

    def elsewhere(self, store: Store) -> Iterator[tuple[str, Parts]]:
        """Collectors; the highest pack and manifest keep their files, as their numbers tell which is next."""
        turned = store._replace(condemned=not store.condemned)
        yield "the row is " + ("revived" if store.condemned else "condemned"), (turned,)
        new = store.packs.bit_length()
        if new < self.names:
            written = store._replace(packs=store.packs | 1 << new, pack=new if self.rows_move_first else store.pack)
            yield (
                f"compaction writes pack {new}" + (", the row moves there" if self.rows_move_first else ""),
                (written,),
            )
        if store.pack != new - 1:
            yield f"the row moves to pack {new - 1}", (store._replace(pack=new - 1),)
        for old in range(new - 1):
            if store.packs >> old & 1:
                yield f"pack {old} is unlinked", (store._replace(packs=store.packs & ~(1 << old)),)
        yield from self._coalescing(store)

    def _coalescing(self, store: Store) -> Iterator[tuple[str, Parts]]:
        number = store.manifests.bit_length()
        if number < self.names:
            written = store._replace(manifests=store.manifests | 1 << number)
            if self.swapped_first:
                written = written._replace(manifest=number)
            yield f"the image is coalesced to manifest {number}", (written,)
        if store.manifest != number - 1:
            yield f"the image has manifest {number - 1} now", (store._replace(manifest=number - 1),)
        for old in range(number - 1):
            if store.manifests >> old & 1:
                yield f"manifest {old} is unlinked", (store._replace(manifests=store.manifests & ~(1 << old)),)

    def read(self, store: Store, me: Reader) -> Iterator[tuple[str, Parts]]:
        failed = (store, Reader("failed"))
        if me.at == "idle":
            yield f"reads the location: manifest {store.manifest}", (store, Reader("open", store.manifest))
        elif me.at == "open":
            if store.manifests >> me.manifest & 1:
                yield f"opens manifest {me.manifest}", (store, Reader("ask"))
            elif self.location_again and store.manifest != me.manifest:
                again = Reader("open", store.manifest)
                yield f"finds manifest {me.manifest} gone, reads the location: {store.manifest}", (store, again)
            else:
                yield f"finds manifest {me.manifest} gone", failed
        elif me.at == "ask":
            if store.condemned and not self.sees_condemned:
                yield "finds no row", failed
            else:
                asked = 0 if self.as_long_as_it_moves else 1
                yield f"has the place: pack {store.pack}", (store, Reader("pack", -1, store.pack, asked))
        elif me.at == "pack":
            yield self._open_pack(store, me)

    def _open_pack(self, store: Store, me: Reader) -> tuple[str, Parts]:
        if store.packs >> me.pack & 1:
            return f"opens pack {me.pack} and reads", (store, Reader())
        if (
            not self.place_again
            or store.pack == me.pack
            or me.asked == 2
            or (store.condemned and not self.sees_condemned)
        ):
            return f"finds pack {me.pack} gone", (store, Reader("failed"))
        asked = me.asked + 1 if me.asked else 0
        return f"finds pack {me.pack} gone, asks the index: pack {store.pack}", (
            store,
            Reader("pack", -1, store.pack, asked),
        )
