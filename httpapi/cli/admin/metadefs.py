"""`drystone admin metadefs`: metadata definitions from files, and into files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.admin.host_verb import Chosen, HostVerbs, host_verb, opened

if TYPE_CHECKING:
    from catalog.inventory import Records
    from catalog.usecases.metadef_files import WhatIsThere

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin metadefs load /etc/glance/metadefs --data /srv/images
  drystone admin metadefs load gpu.json --update
  drystone admin metadefs export /tmp/metadefs
  drystone admin metadefs unload OS::Compute::GPU
  drystone admin metadefs unload --all
"""


@click.group(cls=HostVerbs, epilog=EXAMPLES)
def metadefs() -> None:
    """Load, unload and export metadata definitions: which properties there are, and what they mean.

    Files are JSON, one namespace each, in the form of those that Glance ships in etc/metadefs, which Horizon's users
    load with glance-manage db_load_metadefs. It may run beside servers, and counts at their next request.
    """


@metadefs.command(epilog=EXAMPLES, short_help="Load namespaces from JSON files.")
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR...", type=click.Path(path_type=Path))
@click.option("--merge", "there", flag_value="merge", help="Add to namespaces that are there what they have not.")
@click.option("--update", "there", flag_value="update", help="As --merge, and change what a file says otherwise.")
@click.option("--replace", "there", flag_value="replace", help="As --update, and take away what a file has not.")
@click.option(
    "--owner", default="admin", show_default=True, metavar="PROJECT", help="Whose, where a file does not say."
)
@host_verb
def load(chosen: Chosen, *, paths: tuple[Path, ...], there: str | None, owner: str) -> int:
    """Load the namespaces in these files, of a directory in all that end in .json.

    Namespaces that are there already stay as they are, unless an option says otherwise: the same can be loaded again.
    A file is loaded wholly or not at all. The others are loaded, too; then the exit code is 1.
    """
    from catalog.usecases.metadef_files import WhatIsThere
    from httpapi.cli.admin.quota_options import checked
    from httpapi.cli.admin.showing import say
    from httpapi.cli.output import print_json, print_lines

    wanted = WhatIsThere(there or "keep")
    refused: list[dict[str, object]] = []
    told: list[dict[str, object]] = []
    files = _files(paths)
    with opened(chosen, "admin metadefs", exclusive=False) as (_, records):
        for file in files:
            line = _loaded(records, file, checked(owner), wanted)
            (refused if "refused" in line else told).append(line)
            if "refused" in line and not chosen.json:
                say(f"{file} was not loaded: {line['refused']}")
    if chosen.json:
        print_json(told + refused)
    else:
        print_lines(tuple(line.values()) for line in told)
    return 1 if refused else 0


@metadefs.command(epilog=EXAMPLES, short_help="Forget namespaces.")
@click.argument("names", nargs=-1, metavar="[NAMESPACE]...")
@click.option("--all", "everything", is_flag=True, help="All namespaces, and all types of resources.")
@host_verb
def unload(chosen: Chosen, *, names: tuple[str, ...], everything: bool) -> None:
    """Forget these namespaces with all that they have, protected ones too: all of them, or none if one is not there."""
    from catalog.usecases import metadef_files
    from httpapi.cli.output import print_json, print_lines

    if bool(names) is everything:
        raise click.UsageError("Name namespaces, or say --all for all there are.")
    with opened(chosen, "admin metadefs", exclusive=False) as (_, records):
        gone = list(dict.fromkeys(names))
        if everything:
            gone = list(metadef_files.unload_all(records))
        else:
            metadef_files.unload(records, gone)
    if chosen.json:
        print_json(gone)
    else:
        print_lines((name,) for name in gone)


@metadefs.command(epilog=EXAMPLES, short_help="Write namespaces to JSON files.")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1, metavar="[NAMESPACE]...")
@host_verb
def export(chosen: Chosen, *, directory: Path, names: tuple[str, ...]) -> None:
    """Write these namespaces, or all, to DIR, a file each, as `load` takes them. No file is written over."""
    import json

    from catalog.usecases import metadef_files
    from httpapi.cli.output import print_json, print_lines

    with opened(chosen, "admin metadefs", exclusive=False) as (_, records):
        wanted = list(dict.fromkeys(names)) or list(metadef_files.all_names(records))
        documents = {name: metadef_files.exported(records, name) for name in wanted}
    directory.mkdir(parents=True, exist_ok=True)
    written: dict[str, str] = {}
    for name, document in documents.items():
        file = directory / _file_name(name, {Path(each).name for each in written})
        try:
            with file.open("x", encoding="utf-8") as out:
                out.write(json.dumps(document, ensure_ascii=False, indent=4) + "\n")
        except FileExistsError:
            raise click.ClickException(f"{file} is there already: name a directory without it") from None
        written[str(file)] = name
    if chosen.json:
        print_json([{"file": file, "namespace": name} for file, name in written.items()])
    else:
        print_lines(written.items())


def _files(paths: tuple[Path, ...]) -> list[Path]:
    """The files that are meant, those of a directory in the order of their names."""
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.suffix == ".json")
            if not inside:
                raise click.ClickException(f"no file in {path} ends in .json: name the directory that has them")
            found += inside
        else:
            found.append(path)
    return found


def _loaded(records: Records, file: Path, owner: str, there: WhatIsThere) -> dict[str, object]:
    """What came of one file, or why nothing."""
    from blockstore import clock
    from catalog.model.errors import CatalogError, CatalogFull, CatalogUnavailable
    from catalog.usecases import metadef_files
    from httpapi.rules_file import read_rules_file
    from httpapi.settings import SettingsRefused
    from httpapi.wire.errors import BadRequest
    from httpapi.wire.json_body import parse_object

    try:
        said = parse_object(read_rules_file("file", file).encode())
        done = metadef_files.load(records, said, owner=owner, there=there, at=clock.now())
    except (CatalogFull, CatalogUnavailable):
        raise
    except (SettingsRefused, BadRequest, CatalogError) as error:
        return {"file": str(file), "refused": str(error)}
    return {
        "file": str(file),
        "namespace": done.namespace,
        "outcome": done.outcome,
        "added": done.added,
        "changed": done.changed,
        "removed": done.removed,
    }


def _file_name(namespace: str, taken: set[str]) -> str:
    """A name for its file that no other one has: letters, digits and dashes of the namespace's."""
    import re

    plain = re.sub(r"[^\w.]+", "-", namespace).strip("-.").lower() or "namespace"
    numbered = [f"{plain}.json", *(f"{plain}-{number}.json" for number in range(2, len(taken) + 3))]
    return next(each for each in numbered if each not in taken)
