"""`drystone vm restore`: a machine's disks back from a backup."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.client.vm.groups import Group
    from httpapi.client.vm.restore import Restored

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone vm restore web --to /srv/web-again        (its newest backup)
  drystone vm restore 3f9a02c1-5a0e-4f0c-9a51-0e3b8f6f2f10 --to . --format raw
  drystone vm restore web --to . --disk vdb --force  (gets only what differs)
  drystone vm restore web --to /var/lib/libvirt/images/web --define
"""


@click.command(epilog=EXAMPLES)
@click.argument("backup")
@click.option("--to", "directory", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Where to.")
@click.option("--format", "disk_format", type=click.Choice(["qcow2", "raw"]), default="qcow2", show_default=True)
@click.option("--disk", "disks", metavar="NAME", multiple=True, help="Only this disk; repeatable. [default: all]")
@click.option("--force", "-f", is_flag=True, help="Replace files that are there, and with --define a domain.")
@click.option("--define", is_flag=True, help="Make the domain known to libvirt.")
@click.option("--connect", metavar="URI", help="Where libvirt is. [default: virsh's own]")
@client_verb
def restore(
    choices: Choices,
    backup: str,
    *,
    directory: Path,
    disk_format: str,
    disks: tuple[str, ...],
    force: bool,
    define: bool,
    connect: str | None,
) -> None:
    """Bring back the disks of BACKUP as files in DIR, such as vda.qcow2, and what its machine is made of.

    BACKUP is the name that a machine's backups have, which means the newest whole one; a backup's id, as `drystone vm
    ls` tells them; or one of its images. Files are sparse, and each appears when it is whole. None is replaced without
    --force; then a raw file gets only what differs.

    Of a backup of libvirt's the domain's XML is written beside them, NAME.xml, with the new files as its disks; look
    at it before you use it: it has the old machine's UUID and network addresses. --define hands it to `virsh define`.
    A domain of that name or UUID that libvirt has already is replaced only with --force, and is looked for first.
    Of one by QMP, a command that starts such a machine is told.

    Prints the files' paths where no person reads, and with --json an object with group, name, machine (the XML's path,
    or null), command (words), and disks: disk, id, file, size and received (bytes).
    """
    from httpapi.cli.progress import reporting
    from httpapi.client.vm.defining import check_definable
    from httpapi.client.vm.defining import define as define_domain
    from httpapi.client.vm.groups import find_group
    from httpapi.client.vm.restore import RestoreWish
    from httpapi.client.vm.restore import restore as bring_back

    wish = RestoreWish(directory, disk_format, disks, force)
    with reporting("restore", quiet=choices.quiet) as report:

        async def step(api: ImagesApi) -> tuple[Group, Restored]:
            group = await find_group(api, backup, choices.project)
            if define:
                check_definable(group, connect, force=force)
            return group, await bring_back(api, group, wish, report)

        group, done = run(choices, step)
        for disk in done.left:
            report.note(f"the domain's disk {disk} is none of this restore: in the XML it is where it was")
    if define and done.machine is not None:
        define_domain(done.machine, connect)
    _print_result(choices, group, done, defined=define)


def _print_result(choices: Choices, group: Group, done: Restored, *, defined: bool) -> None:
    from httpapi.cli.output import is_terminal, print_json

    if choices.json:
        print_json(
            {
                "group": group.id,
                "name": group.domain,
                "machine": None if done.machine is None else str(done.machine),
                "command": list(done.command),
                "disks": [
                    {
                        "disk": each.disk,
                        "id": each.image,
                        "file": str(each.file),
                        "size": each.size,
                        "received": each.received,
                    }
                    for each in done.disks
                ],
            }
        )
        return
    for path in (*(each.file for each in done.disks), *([] if done.machine is None else [done.machine])):
        # As the file system has it, in whatever encoding.
        click.echo(os.fsencode(path))
    if not choices.quiet and not defined and done.command and is_terminal():
        click.echo(f"To start it: {shlex.join(done.command)}", err=True)
