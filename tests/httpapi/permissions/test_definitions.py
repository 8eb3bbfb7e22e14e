"""Every operation on metadata definitions, by everybody, on every sort of namespace, as `definitions.txt` has it.

`python -m tests.httpapi.permissions.test_definitions` prints the table as it is now: to be read before it is believed.
"""

from __future__ import annotations

import asyncio
import difflib
import sys
import tempfile
from pathlib import Path

from tests.httpapi.permissions.definitions import DEFINITIONS, NAMESPACES, table_of, world

TABLE = Path(__file__).parent / "definitions.txt"


async def asked(root: Path) -> str:
    """The table as the service answers it."""
    async with world(root) as made:
        return await table_of(made)


def test_every_cell_of_the_table_is_as_it_is_written(tmp_path: Path) -> None:
    found, written = asyncio.run(asked(tmp_path)), TABLE.read_text(encoding="utf-8")
    difference = difflib.unified_diff(written.splitlines(), found.splitlines(), "written", "answered", n=0)
    assert not list(difference), "\n".join(difference)
    assert written == found


def test_a_namespace_that_is_hidden_answers_as_one_that_there_is_none_of(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world(tmp_path) as made:
            hidden = [str(said["namespace"]) for title, said in NAMESPACES.items() if "private" in title]
            for definition in DEFINITIONS:
                for name in hidden:
                    told = await definition.asked(made, name, "other")
                    assert told == await definition.asked(made, "none", "other"), definition.name

    asyncio.run(scene())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        sys.stdout.write(asyncio.run(asked(Path(directory))))
