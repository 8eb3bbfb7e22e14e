"""How quotas are shown: for each project and quota what is used, what may be, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from catalog.model.quota import NAMES, Usage
from catalog.usecases.quotas import Source, effective, who_says
from httpapi.cli.output import human_size, is_terminal, print_json, print_lines, printable
from httpapi.quota_file import load_quotas, shown_quota

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from catalog.inventory import Records
    from catalog.model.quota import Quota
    from catalog.quota_ports import Said
    from httpapi.cli.admin.host_verb import Chosen

OTHERS: Final = "--default"
"""In the place of a project's name, for all of which nothing else is said."""


class Row(NamedTuple):
    """One quota of one project, or of all others (None, and `used` too); `limit` is None where none is said."""

    project: str | None
    quota: str
    used: int | None
    limit: int | None
    said_by: Source | None


def print_quotas(records: Records, chosen: Chosen, project: str | None = None, *, default: bool = False) -> None:
    """Of one project, of all others (`default`), or of all that there are."""
    file = load_quotas(chosen.settings.quota_file)
    said, usage = records.read(lambda uow: (uow.quotas.all_said(), uow.quotas.all_usage()))
    rows = [] if project is not None else [*_of_others(said, file)]
    if not default:
        named = [project] if project is not None else sorted({*said.projects, *file.projects, *usage})
        rows += [row for each in named for row in _of_project(each, said, file, usage.get(each, Usage()))]
    if chosen.json:
        print_json(_document(rows))
    elif is_terminal():
        _print_table(rows)
    else:
        print_lines((row.project or OTHERS, row.quota, _text(row.used), _limit(row), row.said_by or "") for row in rows)


def _of_project(project: str, catalog: Said, file: Said, usage: Usage) -> Iterator[Row]:
    bounds = effective(project, catalog, file)
    for name in NAMES:
        yield Row(project, name, usage.used(name), getattr(bounds, name), who_says(name, project, catalog, file))


def _of_others(catalog: Said, file: Said) -> Iterator[Row]:
    bounds: Quota = catalog.default.over(file.default)
    for name in NAMES:
        in_catalog, in_file = (getattr(said.default, name) is not None for said in (catalog, file))
        said_by = Source.CATALOG_DEFAULT if in_catalog else Source.FILE_DEFAULT if in_file else None
        yield Row(None, name, None, getattr(bounds, name), said_by)


def _document(rows: Sequence[Row]) -> Mapping[str, object]:
    projects: dict[str, dict[str, object]] = {}
    others: dict[str, object] = {}
    for row in rows:
        limit = None if row.limit is None or row.limit < 0 else row.limit
        bound = {"limit": limit, "said_by": row.said_by}
        if row.project is None:
            others[row.quota] = bound
        else:
            projects.setdefault(row.project, {})[row.quota] = {"used": row.used} | bound
    return {"projects": projects} | ({"default": others} if others else {})


def _print_table(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("PROJECT", "QUOTA", "USED", "LIMIT", "SAID BY"):
        table.add_column(heading, justify="right" if heading in {"USED", "LIMIT"} else "left")
    for row in rows:
        used = human_size(row.used) if row.used is not None and row.quota.endswith("bytes") else _text(row.used)
        limit = shown_quota(row.quota, row.limit) or "-"
        # Text, not str: a name may hold what rich takes for markup.
        table.add_row(
            *(Text(cell) for cell in (printable(row.project or OTHERS), row.quota, used, limit, row.said_by or "-"))
        )
    Console().print(table)


def _text(used: int | None) -> str:
    return "" if used is None else str(used)


def _limit(row: Row) -> str:
    """For programs: bytes as a number."""
    return shown_quota(row.quota, row.limit) if row.limit is None or row.limit < 0 else str(row.limit)
