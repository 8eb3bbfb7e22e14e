"""A block that a collection took for garbage although an image needs it: read all the same, and told."""

from __future__ import annotations

import logging
import os
import random
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import StoreUnavailable
from blockstore.manifest_builder import path_of
from blockstore.names import made_at, new_name
from blockstore.store import BlockStore, StoreOptions
from tests.kit.images_in_store import link, read_image, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from blockstore.write_result import WriteResult

OPTIONS = StoreOptions(slab=64 * 1024, slab_budget=1 << 20, generation_seconds=0.1, index_map=1 << 30, threads=2)
DATA = random.Random(1).randbytes(5 * 65536)
"""So few blocks that their places are kept in the index alone."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    with closing(BlockStore.open(tmp_path, OPTIONS)) as opened:
        yield opened


def condemn(store: BlockStore, root: Path, image: WriteResult, *, since_written: float) -> Path:
    """By a run that began so many seconds after the image's manifest was written; gives that manifest's file."""
    with closing(store.reader([link(image)])) as reader:
        names = reader.digests()
    run = new_name()
    store.index.condemn_many(names[:2], run)
    path = path_of(root / "manifests", link(image)[0])
    written = made_at(run) * 1000 - int(since_written * 1e9)
    os.utime(path, ns=(written, written))
    return path


def test_a_condemned_block_that_an_older_image_needs_is_read_and_told(
    store: BlockStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = write_image(store, [DATA])
    path = condemn(store, tmp_path, image, since_written=60)
    for _ in range(2):
        assert read_image(store, [link(image)]) == DATA
    assert store.damage_met().condemned == 4
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1, "once for each manifest"
    assert path.stem in told[0]


def test_an_image_that_is_newer_than_the_run_is_no_alarm_for_the_run_will_still_find_it(
    store: BlockStore, tmp_path: Path
) -> None:
    image = write_image(store, [DATA])
    condemn(store, tmp_path, image, since_written=-60)
    assert read_image(store, [link(image)]) == DATA
    assert store.damage_met().condemned == 0


def test_an_image_that_is_deleted_while_it_is_read_is_no_alarm(store: BlockStore, tmp_path: Path) -> None:
    image = write_image(store, [DATA])
    path = condemn(store, tmp_path, image, since_written=60)
    with closing(store.reader([link(image)])) as reader:
        path.unlink()
        assert b"".join(bytes(piece) for piece in reader.read(0, reader.size)) == DATA
    assert store.damage_met().condemned == 0


def test_where_nothing_is_condemned_no_block_is_looked_for(store: BlockStore) -> None:
    image = write_image(store, [DATA])
    assert read_image(store, [link(image)]) == DATA
    assert store.damage_met().condemned == 0


def test_a_read_goes_on_when_its_alarm_cannot_be_looked_at(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(_: Sequence[bytes]) -> dict[bytes, bytes]:
        raise StoreUnavailable("the index refuses")

    image = write_image(store, [DATA])
    monkeypatch.setattr(store.index, "condemned_among", unable)
    assert read_image(store, [link(image)]) == DATA
