"""Faults that nobody foresaw, where an upload is told how its generation went: it fails, and nobody waits for ever."""

from __future__ import annotations

import errno
import random
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from blockstore.errors import Damaged, StoreUnavailable
from blockstore.names import new_name
from blockstore.store import BlockStore, StoreOptions
from chunker.cutting import CutKind, Cutting
from tests.kit.images_in_store import acquire, link, read_image, write_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from blockstore.errors import BlockstoreError
    from blockstore.generation import Generation
    from blockstore.journal import Record
    from blockstore.manifest_writer import ManifestWriter

BLOCK = 4096
CUTTING = Cutting(CutKind.FIXED, BLOCK)
DATA = random.Random(1).randbytes(20 * BLOCK)
OPTIONS = StoreOptions(slab=16 * 1024, slab_budget=1 << 20, generation_seconds=0.1, index_map=1 << 30, threads=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    with closing(BlockStore.open(tmp_path, OPTIONS)) as opened:
        yield opened


@dataclass(eq=False)
class TellTale:
    """A session that raises so many times when it is told that its generation is closed."""

    faults: int
    told: list[BlockstoreError | None] = field(default_factory=list)

    def write_journal(self, records: Sequence[Record]) -> None: ...

    def generation_closed(self, _generation: Generation, error: BlockstoreError | None) -> None:
        self.told.append(error)
        if len(self.told) <= self.faults:
            raise RuntimeError("not foreseen")


def begun(store: BlockStore) -> ManifestWriter:
    share = store.slabs.admit(store.slab_size(CUTTING))
    assert share is not None
    return store.writer(new_name().hex(), share, cutting=CUTTING)


def submit(store: BlockStore, writer: ManifestWriter) -> None:
    """All that there is."""
    slab = acquire(store.slabs, writer)
    slab.view[:BLOCK] = DATA[:BLOCK]
    writer.submit(slab, BLOCK, last=True)


@pytest.mark.parametrize("faults", [1, 2])
def test_a_session_that_cannot_take_in_that_its_generation_is_closed_is_told_that_it_fails(
    store: BlockStore, faults: int
) -> None:
    generations, broken, other = store.crossing.generations, TellTale(faults), TellTale(0)
    generation = generations.admit()
    for session in (broken, other):
        generations.note(generation, session, [])
    generations.leave(generation)
    generations.flush().result(10)
    assert broken.told[0] is None
    assert isinstance(broken.told[1], StoreUnavailable)
    assert "not foreseen" in str(broken.told[1])
    assert other.told == [None]
    assert read_image(store, [link(write_image(store, [DATA]))]) == DATA


class Fault:
    """Raises when it is called for the first time, and then does what it stands for."""

    def __init__(self, real: Callable[..., Any], error: Exception) -> None:
        self._real, self._error, self.met = real, error, False

    def __call__(self, *given: Any) -> Any:
        if not self.met:
            self.met = True
            raise self._error
        return self._real(*given)


class BrokenSet(set[int]):
    """A set of rounds from which the first one cannot be taken."""

    def __init__(self) -> None:
        super().__init__()
        self.discard = Fault(super().discard, MemoryError("not foreseen"))  # type: ignore[method-assign]


def goes_on(store: BlockStore) -> None:
    assert store.slabs.taken == 0
    assert read_image(store, [link(write_image(store, [DATA]))]) == DATA


def test_an_upload_that_cannot_take_in_that_its_generation_is_closed_fails(store: BlockStore) -> None:
    writer = begun(store)
    writer._rounds = BrokenSet()
    submit(store, writer)
    with pytest.raises(StoreUnavailable, match="not foreseen"):
        writer.finish().result(10)
    writer.abort().result(10)
    goes_on(store)


def test_an_upload_that_finds_no_thread_for_its_last_steps_fails(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = store.crossing.generations
    fault = Fault(generations.run_sync, MemoryError("not foreseen"))
    writer = begun(store)
    submit(store, writer)
    monkeypatch.setattr(generations, "run_sync", fault)
    with pytest.raises(MemoryError, match="not foreseen"):
        writer.finish().result(10)
    assert fault.met
    writer.abort().result(10)
    goes_on(store)


def test_an_upload_that_failed_and_cannot_be_tidied_up_is_told_all_the_same(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = begun(store)
    monkeypatch.setattr(writer._builder, "finish", Fault(writer._builder.finish, Damaged("the first error")))
    monkeypatch.setattr(writer._journal, "close", Fault(writer._journal.close, OSError(errno.EIO, "not foreseen")))
    submit(store, writer)
    with pytest.raises(Damaged, match="the first error"):
        writer.finish().result(10)
    writer.abort().result(10)
    goes_on(store)
