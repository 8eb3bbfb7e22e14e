"""The model of manifests, joined: who is there, what must hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.model import manifest_collector, manifest_writer, manifests
from tests.model.explore import Actor, Parts, Quiet, Rule
from tests.model.manifest_collector import Collector
from tests.model.manifest_writer import Coalescer, Writer
from tests.model.manifests import NOBODY, Manifest, ManifestRules, Store

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests(ManifestRules):
    """See `manifests.py`."""

    writers: int = 2
    coalescers: int = 1
    collectors: int = 1

    @property
    def start(self) -> Parts:
        names = (Manifest("live", NOBODY, 1, file=True), *(Manifest() for _ in range(1, self.manifests)))
        images = (0, *(NOBODY for _ in range(1, self.images)))
        store = Store(1, names, images, (0,) * self.manifests, (0, 0))
        writers, coalescers, collectors = self._groups
        return (
            store,
            *(Writer() for _ in writers),
            *(Coalescer() for _ in coalescers),
            *(Collector() for _ in collectors),
        )

    @property
    def actors(self) -> Sequence[Actor]:
        write, coalesce, collect = (
            partial(step, self)
            for step in (manifest_writer.write, manifest_writer.coalesce, manifest_collector.collect)
        )
        writers, coalescers, collectors = self._groups
        return [
            Actor("elsewhere", (0,), partial(manifests.elsewhere, self)),
            *(Actor(f"writer {'12'[n]}", (0, at), write) for n, at in enumerate(writers)),
            *(Actor(f"coalescer {'12'[n]}", (0, at), coalesce) for n, at in enumerate(coalescers)),
            *(Actor(f"collector {'AB'[n]}", (0, at), collect) for n, at in enumerate(collectors)),
        ]

    @property
    def rules(self) -> Sequence[Rule]:
        return [Rule((0,), manifests.lost)]

    @property
    def quiet(self) -> Quiet | None:
        if not self.collectors:
            return None
        everybody = tuple(range(len(self.start)))
        return Quiet(everybody, _still, (0, len(self.actors) - 1), _left)

    @property
    def alike(self) -> Sequence[tuple[int, int]]:
        return [(group[0], group[1]) for group in self._groups if len(group) == 2]

    @property
    def _groups(self) -> tuple[range, range, range]:
        first = 1 + self.writers
        second = first + self.coalescers
        return range(1, first), range(first, second), range(second, second + self.collectors)


def _still(part: Store | Writer | Coalescer | Collector) -> bool:
    return max(part.images) < 0 if isinstance(part, Store) else part in {Writer(), Coalescer(), Collector()}


def _left(store: Store, *_: Any) -> str | None:
    if store.blocks:
        return "blocks are left"
    files = [number for number, manifest in enumerate(store.manifests) if manifest.file or manifest.row == "live"]
    return f"manifest {files[0]} is left: {store.manifests[files[0]]}" if files else None
