"""Versions of a disk, in any order of edits, coalescings, deletions and undeletes, against plain bytes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from blockstore import clock
from blockstore.garbage import Collecting
from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.model.errors import TooLate
from catalog.usecases import administration, images
from catalog.usecases.coalescing import coalesce
from catalog.usecases.deleted_images import undelete
from tests.kit.filled_store import looked_after
from tests.kit.image_service import CALLER, image_service
from tests.kit.quiet_worker import until_quiet

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
BLOCK = 4096
LARGEST = 60 * BLOCK
KEEP = 3600.0
where = st.floats(0, 1)


class Versions(RuleBasedStateMachine):
    """`files` says what each image must read as; images' parents are any that are, or were, there.

    `kept` are deleted ones that can be brought back, `gone` those that can't.
    """

    empty: Path

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.kept: dict[str, bytes] = {}
        self.gone: list[str] = []
        self.random = random.Random(0)
        self.root = Path(tempfile.mkdtemp())
        shutil.copytree(self.empty, self.root / "data")
        self._open()
        self.loop = asyncio.new_event_loop()

    def _open(self) -> None:
        self.stack = contextlib.ExitStack()
        self.service = self.stack.enter_context(image_service(self.root / "data", keep_deleted=KEEP))

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)

    def chosen(self, at: float) -> str:
        return list(self.files)[int(at * (len(self.files) - 1))]

    @initialize(blocks=st.integers(0, 40))
    def first(self, blocks: int) -> None:
        data = self.random.randbytes(blocks * BLOCK + 5)
        self.files[self.run(self.service.pushed(data))] = data

    @precondition(lambda self: self.files)
    @rule(parent=where, edits=st.lists(st.tuples(where, st.integers(1, 3 * BLOCK), st.booleans()), max_size=4))
    def edit(self, parent: float, edits: list[tuple[float, int, bool]]) -> None:
        over = self.chosen(parent)
        data = bytearray(self.files[over])
        for at, length, zeros in edits:
            start = int(at * len(data))
            stop = min(len(data), start + length)
            data[start:stop] = bytes(stop - start) if zeros else self.random.randbytes(stop - start)
        self._push(over, bytes(data))

    @precondition(lambda self: self.files)
    @rule(
        parent=where, size=st.one_of(st.just(0), st.integers(0, LARGEST), st.integers(0, 60).map(lambda n: n * BLOCK))
    )
    def resize(self, parent: float, size: int) -> None:
        over = self.chosen(parent)
        data = self.files[over][:size]
        self._push(over, data + bytes(size - len(data)))

    def _push(self, parent: str, data: bytes) -> None:
        image_id = self.run(self.service.pushed(data, parent=parent))
        self.files[image_id] = data
        assert self.run(self.service.get(image_id)) == data
        assert self.run(self.service.manifest(image_id)).depth <= 16

    @precondition(lambda self: self.files)
    @rule(which=where)
    def coalesce(self, which: float) -> None:
        self.run(coalesce(self.service.services, CALLER, self.chosen(which)))

    @precondition(lambda self: len(self.files) > 1)
    @rule(which=where, keep=st.booleans())
    def delete(self, which: float, *, keep: bool) -> None:
        image_id = self.chosen(which)
        data = self.files.pop(image_id)
        services = replace(self.service.services, keep_deleted=KEEP if keep else 0)
        self.run(images.delete(services, CALLER, image_id))
        if keep:
            self.kept[image_id] = data
        else:
            self.gone.append(image_id)

    @precondition(lambda self: self.kept)
    @rule(which=where)
    def undelete(self, which: float) -> None:
        image_id = list(self.kept)[int(which * (len(self.kept) - 1))]
        self.run(undelete(self.service.services, CALLER, image_id))
        self.files[image_id] = self.kept.pop(image_id)

    @precondition(lambda self: self.gone)
    @rule(which=where)
    def undelete_too_late(self, which: float) -> None:
        with pytest.raises(TooLate):
            self.run(undelete(self.service.services, CALLER, self.gone[int(which * (len(self.gone) - 1))]))

    @rule()
    def work(self) -> None:
        self.run(until_quiet(self.service.services))

    @rule(keep=st.sampled_from([0.0, KEEP]))
    def collect(self, keep: float) -> None:
        self.stack.close()
        with looked_after(self.root / "data", exclusive=True) as (store, records):
            how = Collecting(share=0)
            administration.collect(store, records, how, Silent(), at=clock.now(), keep_deleted=keep)
        if not keep:
            self.gone += self.kept
            self.kept.clear()
        self._open()

    @invariant()
    def all_read_as_their_files(self) -> None:
        for image_id, data in self.files.items():
            assert self.run(self.service.get(image_id)) == data

    def teardown(self) -> None:
        self.stack.close()
        with looked_after(self.root / "data") as (store, records):
            found = administration.verify_all(store, records, Wanted(data=True), Silent())
        self.loop.close()
        shutil.rmtree(self.root)
        assert found.verified.clean, found.verified.findings


@pytest.mark.timeout(600)
def test_versions_of_a_disk_are_the_files_that_they_were_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with image_service(tmp_path / "empty"):
        # Made once: migrating is the dearest part.
        monkeypatch.setattr(Versions, "empty", tmp_path / "empty", raising=False)
    run_state_machine_as_test(
        Versions,
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
