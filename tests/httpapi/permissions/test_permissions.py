"""Every operation, by everybody, on an image of every visibility and status, as `table.txt` has it.

`python -m tests.httpapi.permissions.test_permissions` prints the table as it is now: to be read before it is believed.
"""

from __future__ import annotations

import asyncio
import difflib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from catalog.limits import Limits
from catalog.usecases.services import Services
from httpapi import routes
from tests.httpapi.permissions.definitions import DEFINITIONS
from tests.httpapi.permissions.operations import OPERATIONS, Listing, Operation
from tests.httpapi.permissions.table import Cell, parse, text_of
from tests.httpapi.permissions.world import CALLERS, STATUSES, VISIBILITIES, world
from tests.kit.memory_blocks import MemoryBlocks

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE = Path(__file__).parent / "table.txt"
# So that several workers of the tests have something of it.
PARTS = 4
NONE = "00000000-0000-4000-8000-000000000000"
# Members of a private image, too: they are none now.
STRANGERS = ("other", "accepted", "pending", "rejected", "service")
# Not about images: everybody who is known may read them.
_DOCUMENTS = ("/v2/schemas/", "/v2/info/", "/metrics", "/openapi.json")


async def asked(root: Path, operations: Sequence[Operation | Listing] = OPERATIONS) -> dict[Cell, str]:
    """Their cells as the service answers them."""
    async with world(root) as made:
        return {cell: answer for operation in operations async for cell, answer in operation.cells(made)}


@pytest.mark.parametrize("part", range(PARTS))
def test_every_cell_of_the_permission_table_is_as_it_is_written(tmp_path: Path, part: int) -> None:
    operations = OPERATIONS[part::PARTS]
    cells = asyncio.run(asked(tmp_path / "data", operations))
    assert len(cells) == len(operations) * len(VISIBILITIES) * len(STATUSES) * len(CALLERS)
    names = {operation.name for operation in operations}
    written = {cell: answer for cell, answer in parse(TABLE.read_text("utf-8")).items() if cell.operation in names}
    difference = difflib.unified_diff(
        text_of(written).splitlines(), text_of(cells).splitlines(), "written", "answered", n=0
    )
    assert not list(difference), "\n".join(difference)
    assert written == cells


def test_the_table_is_written_as_it_is_printed_and_has_no_operation_more() -> None:
    written = TABLE.read_text("utf-8")
    assert text_of(parse(written)) == written
    assert [*dict.fromkeys(cell.operation for cell in parse(written))] == [operation.name for operation in OPERATIONS]


def test_every_route_is_in_the_table() -> None:
    services = Services(database=None, blocks=MemoryBlocks(), limits=Limits())  # type: ignore[arg-type]  # never asked
    served = {
        f"{verb} {path.replace(routes.V2, '/v2')}"
        for path, verbs in routes.tables(services, body_timeout=1).identified.items()
        for verb in verbs
        if not path.replace(routes.V2, "/v2").startswith(_DOCUMENTS)
    }
    assert served == {operation.route for operation in (*OPERATIONS, *DEFINITIONS)}


def test_an_image_that_is_hidden_answers_as_one_that_there_is_none_of(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path / "data") as made:
            hidden = [made.ids[key] for key in (("private", "active"), ("private", "saving"), ("public", "deleted"))]
            for operation in OPERATIONS:
                if isinstance(operation, Operation):
                    for caller in STRANGERS:
                        told = {each: await operation.asked(made, each, caller) for each in (NONE, *hidden)}
                        for image_id in hidden:
                            code, text = told[image_id]
                            text = text.replace(made.tasks[image_id], NONE).replace(image_id, NONE)
                            assert (code, text) == told[NONE], (operation.name, caller)
                            assert code in {400, 403, 404}

    asyncio.run(scene())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        sys.stdout.write(text_of(asyncio.run(asked(Path(directory) / "data"))))
