"""The model of packs, joined: who is there, what must hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.model import pack_collector, pack_writer, packs
from tests.model.explore import Actor, Parts, Quiet, Rule
from tests.model.packs import Collector, Pack, PackRules, Row, Store, Writer

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Packs(PackRules):
    """See `packs.py`."""

    writers: int = 2
    collectors: int = 2

    @property
    def start(self) -> Parts:
        all_blocks = (1 << self.blocks) - 1
        first = Pack("sealed", file="sealed", synced=all_blocks)
        others = (Pack() for _ in range(1, self.packs))
        store = Store((Row(0),) * self.blocks, (first, *others), all_blocks)
        return (store, *(Writer() for _ in self._writers), *(Collector() for _ in self._collectors))

    @property
    def actors(self) -> Sequence[Actor]:
        write, collect = partial(pack_writer.write, self), partial(pack_collector.collect, self)
        return [
            Actor("user", (0,), packs.delete),
            Actor("marks", (0, *self._writers), packs.marks),
            *([] if self.shared else [Actor("process", (0, *self._writers), pack_writer.die)]),
            *(Actor(f"collector {'AB'[n]}", (0, at), collect) for n, at in enumerate(self._collectors)),
            *(Actor(f"writer {at}", (0, at), write) for at in self._writers),
        ]

    @property
    def rules(self) -> Sequence[Rule]:
        return [Rule((0,), packs.lost), *(Rule((at,), packs.refused) for at in (*self._writers, *self._collectors))]

    @property
    def quiet(self) -> Quiet:
        everybody = (0, *self._writers, *self._collectors)
        # Of two collectors that are alike the idle one stands first; the other may be dead.
        return Quiet(everybody, packs.still, (1, 2 if self.shared else 3), packs.left, packs.is_quiet)

    @property
    def alike(self) -> Sequence[tuple[int, int]]:
        return [(group[0], group[1]) for group in (self._writers, self._collectors) if len(group) == 2]

    @property
    def _writers(self) -> range:
        return range(1, 1 + self.writers)

    @property
    def _collectors(self) -> range:
        return range(1 + self.writers, 1 + self.writers + self.collectors)
