"""Opening the index of a data directory, or saying why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blockstore import listing
from blockstore.errors import DataRefused
from blockstore.index.lmdb_env import MAP_SIZE, enter
from blockstore.index.lmdb_index import LmdbIndex

if TYPE_CHECKING:
    from blockstore.data_dir import DataDir
    from blockstore.index.writer import IndexWriter


def open_index(data: DataDir, writer: IndexWriter, map_size: int = MAP_SIZE) -> LmdbIndex:
    """The index; a new one if there are no packs either. Damaged or DataRefused say to make it again from them.

    Looking at a large one may take minutes, so this is not the index-writer's work. Opening is, since it asks for the
    write lock: a stopped neighbour that holds it must not hang us without a word.
    """
    folder = data.folder("index")
    if not (folder / "data.mdb").exists() and next(listing.packs(data.root), None) is not None:
        raise DataRefused(
            f"{folder} has no index, although there are packs: "
            f"run `drystone admin rebuild-index --data {data.root}`, which makes it from them"
        )
    in_use = enter(folder)
    return writer.run(lambda: LmdbIndex(folder, disk=data.disk, map_size=map_size, in_use=in_use))
