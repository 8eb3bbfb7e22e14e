"""The permission table: everybody's requests on an image of every visibility and status, answered as it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.show.main_job.tests import Selection, passed
from bench.show.registry import Figure, Room, at_least, check
from tests.httpapi.permissions.table import parse
from tests.httpapi.permissions.test_permissions import TABLE

if TYPE_CHECKING:
    from collections.abc import Generator

_SELECTIONS = (
    Selection("the table, every route in it, and what strangers are told", ("tests/httpapi/permissions",)),
    Selection("members of a shared image, by id, in lists, in deltas", ("tests/httpapi/test_members.py",)),
    Selection("delta uploads of those who lie", ("tests/httpapi/test_delta_attacks.py",)),
    Selection("rules that an operator's file changes", ("tests/httpapi/test_policy_file.py",)),
)


@check("images-api", "permissions", "Who may do what: operation × caller × visibility × status, as a table.")
def permissions(room: Room) -> Generator[Figure, None, None]:
    cells = parse(TABLE.read_text(encoding="utf-8"))
    yield at_least("operations in the table", len({cell.operation for cell in cells}), 40, "")
    yield at_least("cells, each a request that was asked", len(cells), 7000, "")
    # Where the short form is shown, in CI, `make test` has just run the others.
    for number, selection in enumerate(_SELECTIONS[:1] if room.short else _SELECTIONS):
        yield passed(selection, room.work / f"{number}.xml")
