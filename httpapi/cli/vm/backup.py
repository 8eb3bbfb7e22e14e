"""`drystone vm backup`: the disks of a running machine, as images."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from httpapi.client.vm.backup import Backup, DiskBackup
    from httpapi.client.vm.machine import Machine

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone vm backup web
  drystone vm backup web --connect qemu:///system --disk vda --tag nightly
  drystone vm backup --qmp /run/vm/qmp --agent /run/vm/agent --name web
  drystone vm backup web --parent none               (reads and stores all of it)
  drystone vm backup web && drystone forget web-vda --keep-daily 7 --yes
"""


@click.command(epilog=EXAMPLES)
@click.argument("domain", required=False)
@click.option("--qmp", metavar="SOCKET", help="The monitor of a QEMU or qemu-storage-daemon, in place of a DOMAIN.")
@click.option("--connect", metavar="URI", help="Where libvirt is. [default: virsh's own]")
@click.option("--disk", "disks", metavar="NAME", multiple=True, help="Only this disk; repeatable. [default: all]")
@click.option("--name", help="What the backups are called. [default: the machine's name]")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="A tag for the images; repeatable.")
@click.option("--parent", type=click.Choice(["none"]), help="none: read all, and store it over no older image.")
@click.option("--freeze/--no-freeze", default=None, help="Freeze file systems, or not. [default: if the agent answers]")
@click.option("--agent", metavar="SOCKET", help="With --qmp: the guest agent's socket, for freezing.")
@click.option("--nbd", metavar="SOCKET", help="Where QEMU is to serve NBD meanwhile, or does so already.")
@click.option("--scratch", metavar="DIR", help="Where QEMU keeps what is overwritten meanwhile. [default: by the disk]")
@client_verb
def backup(
    choices: Choices,
    domain: str | None,
    *,
    qmp: str | None,
    connect: str | None,
    name: str | None,
    parent: str | None,
    agent: str | None,
    nbd: str | None,
    scratch: str | None,
    **how: Any,  # noqa: ANN401 - disks, tags, freeze: the options' values
) -> None:
    """Back up the running machine DOMAIN, one of libvirt's, or the one whose monitor (QMP) is at --qmp SOCKET.

    All its disks are held at one moment while the machine runs on, and each becomes an image NAME-DISK, a full disk to
    every client. QEMU remembers from then on what is written to the disk, by a bitmap (of libvirt's: a checkpoint)
    that has the backup's id in its name: the next backup reads just that, and stores it over this image. Nothing else
    is remembered anywhere.

    Where QEMU was killed, lost its power, or the last image is gone, nobody knows what was written: then all of the
    disk is read, a note says why, and still only what differs is sent. A disk that is not qcow2 is always read whole.

    If the guest's agent answers, file systems are frozen for the moment alone; they are thawed within seconds even if
    this command is killed. What is overwritten while the backup runs goes to a scratch file beside the disk first:
    there, or in --scratch DIR, must be room for it, or the guest's writes fail.

    When anything fails no image of the run is left, and the next one reads what this one was to read. What a backup
    that was killed has left in QEMU, the next one ends. A second one of the same machine is refused meanwhile.

    Prints the backup's id where no person reads, a line a disk on a terminal, and with --json an object with group,
    name, frozen (file systems, or null), seconds and disks: disk, id, name, size, read (`full` or `dirty`), why,
    dirty, read_bytes, parent, unchanged and sent (bytes).
    """
    from httpapi.cli.progress import reporting
    from httpapi.client.vm.backup import BackupWish, back_up

    _check(domain, qmp, connect, agent)
    with _held(domain, qmp=qmp, connect=connect, agent=agent, nbd=nbd, scratch=scratch) as (machine, room):
        called = name or machine.name
        if not called:
            raise click.UsageError("this QEMU has no name (-name): say with --name what its backups are called")
        wish = BackupWish(called, room, whole=parent is not None, project=choices.project, **how)
        with reporting("backup", quiet=choices.quiet) as report:
            done = run(choices, lambda api: back_up(api, machine, wish, report))
    _print_result(choices, called, done)


def _check(domain: str | None, qmp: str | None, connect: str | None, agent: str | None) -> None:
    if domain is None and qmp is None:
        raise click.UsageError("Missing argument 'DOMAIN': name a domain of libvirt's, or a monitor with --qmp")
    if domain is not None and qmp is not None:
        raise click.UsageError("DOMAIN and --qmp both say what to back up: give one of them")
    if connect is not None and qmp is not None:
        raise click.UsageError("--connect is for libvirt, which --qmp does without")
    if agent is not None and qmp is None:
        raise click.UsageError("--agent is for --qmp: libvirt knows its guests' agents")


@contextmanager
def _held(
    domain: str | None, *, qmp: str | None, connect: str | None, agent: str | None, nbd: str | None, scratch: str | None
) -> Iterator[tuple[Machine, Path]]:
    """The machine, and a directory for its backup, while no other backup of it runs."""
    from httpapi.cli.endpoint import state_path
    from httpapi.client.vm.room import held_room

    locks = state_path() / "backups"
    with ExitStack() as stack:
        machine: Machine
        if qmp is not None:
            from httpapi.client.vm.qemu import QemuMachine

            # Before it is asked: a monitor lets a second caller wait.
            room = stack.enter_context(held_room(locks, ("qmp", os.path.realpath(qmp)), qmp))
            machine = QemuMachine(qmp, agent=agent, nbd=nbd, scratch=scratch)
        else:
            from httpapi.client.vm.domain import DomainMachine

            assert domain is not None
            machine = found = DomainMachine(connect, domain, socket=nbd, scratch=scratch)
            # However it was named.
            room = stack.enter_context(held_room(locks, ("libvirt", found.uuid), domain))
        stack.callback(machine.close)
        yield machine, room


def _print_result(choices: Choices, name: str, done: Backup) -> None:
    from httpapi.cli.output import is_terminal, print_json

    if choices.json:
        print_json(
            {
                "group": done.group,
                "name": name,
                "frozen": done.frozen,
                "seconds": round(done.seconds, 3),
                "disks": [_document(each) for each in done.disks],
            }
        )
        return
    if not choices.quiet and is_terminal():
        for each in done.disks:
            click.echo(_line(each))
    click.echo(done.group)


def _document(each: DiskBackup) -> dict[str, object]:
    image = each.pushed.image
    return {
        "disk": each.disk,
        "id": image.id,
        "name": image.name,
        "size": each.pushed.size,
        "read": "full" if each.dirty is None else "dirty",
        "why": each.why,
        "dirty": each.dirty,
        "read_bytes": each.read,
        "parent": image.parent_image_ref,
        "unchanged": each.pushed.unchanged,
        "sent": each.pushed.sent,
    }


def _line(each: DiskBackup) -> str:
    from httpapi.cli.output import human_size, printable

    pushed = each.pushed
    moved = f"{human_size(each.read)} read, {human_size(pushed.sent)} sent"
    return f"{printable(each.disk)}: {printable(pushed.image.id)}, {human_size(pushed.size)}, {moved}"
