"""A backup back from the service: its disks as files, and what the machine is to be made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from httpapi.client.disk_formats.conversion import Wanted, pull_converted
from httpapi.client.errors import ClientError, TargetRefused
from httpapi.client.transfers import pull_disk
from httpapi.client.vm import domain_xml
from httpapi.client.vm.file_names import file_name, file_names
from httpapi.client.vm.start import start_command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from httpapi.client.api import ImagesApi
    from httpapi.client.report import Report
    from httpapi.client.vm.groups import Group

QCOW2: Final = "qcow2"


@dataclass(frozen=True, slots=True)
class RestoreWish:
    """`directory` gets the files; `disks` which of the backup's (none: all); `force`: files that are there go."""

    directory: Path
    disk_format: str = QCOW2
    disks: Sequence[str] = ()
    force: bool = False


@dataclass(frozen=True, slots=True)
class RestoredDisk:
    """One of them; `size` in bytes is the disk's, `received` went through the network."""

    disk: str
    image: str
    file: Path
    size: int
    received: int


@dataclass(frozen=True, slots=True)
class Restored:
    """`machine` is a file with libvirt's XML, None if the backup is not libvirt's; `command` starts the machine."""

    disks: Sequence[RestoredDisk]
    machine: Path | None
    command: Sequence[str]
    left: Sequence[str] = ()


async def restore(api: ImagesApi, group: Group, wish: RestoreWish, report: Report) -> Restored:
    """Brings the group's disks to `wish.directory`. Raises TargetRefused and whatever a pull raises.

    Each file appears whole, or not at all; a disk's file that is whole stays when a later one fails.
    """
    names = _chosen(group, wish)
    directory = wish.directory.absolute()
    files = {disk: directory / f"{fit}.{wish.disk_format}" for disk, fit in file_names(names).items()}
    told = group.machine
    xml = directory / f"{file_name(group.domain)}.xml" if told is not None and domain_xml.is_domain(told) else None
    for each in (*files.values(), *([] if xml is None else [xml])):
        if not wish.force and (each.exists() or each.is_symlink()):
            raise TargetRefused(f"{each} is there already: restore to another directory, or say --force")
    directory.mkdir(parents=True, exist_ok=True)
    done = []
    for disk, file in files.items():
        done.append(await _bring(api, group, disk, file, wish, report))
    if xml is None:
        return Restored(done, None, () if told is None else start_command(told, files, wish.disk_format))
    assert told is not None
    domain = domain_xml.parse(told, f"what backup {group.id} has of its machine")
    left = domain_xml.restored(domain, wish.disk_format, files)
    _write(xml, domain_xml.text_of(domain), force=wish.force)
    return Restored(done, xml, ("virsh", "define", str(xml)), left)


async def _bring(
    api: ImagesApi, group: Group, disk: str, file: Path, wish: RestoreWish, report: Report
) -> RestoredDisk:
    image = group.active[disk]
    report.tell(f"{disk}: image {image.id} of {image.created_at}")
    wanted = Wanted(wish.disk_format)
    if wanted.is_made_by_converting(image):
        pulled = await pull_converted(api, image, str(file), wanted, report, force=wish.force)
    else:
        pulled = await pull_disk(api, image.id, str(file), report, force=wish.force)
    return RestoredDisk(disk, image.id, file, pulled.size, pulled.received)


def _chosen(group: Group, wish: RestoreWish) -> list[str]:
    known = list(group.active)
    if unknown := [each for each in wish.disks if each not in known]:
        raise ClientError(f"backup {group.id} has no disk {unknown[0]}, but {', '.join(known) or 'none'}")
    if not wish.disks and group.missing:
        raise ClientError(
            f"backup {group.id} is not whole, it lacks {', '.join(group.missing)}: an image was deleted, or never "
            f"came to be; {' '.join(f'--disk {each}' for each in known) or 'nothing'} brings back what there is"
        )
    return [each for each in known if not wish.disks or each in wish.disks]


def _write(path: Path, text: str, *, force: bool) -> None:
    if force:
        path.unlink(missing_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise TargetRefused(f"{path} has come to be there meanwhile: say --force to replace it") from None
