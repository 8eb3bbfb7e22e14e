"""libvirt's XML, read and made as trees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from httpapi.client.vm.machine import MachineRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from xml.etree.ElementTree import Element

EXPORTED: str = "drystone"
"""What the bitmap of an export is called."""


@dataclass(frozen=True, slots=True)
class DomainDisk:
    """`name` is the target, such as vda; `file` where it lies, None if that is no file.

    `sources` are what it lies in, and what that is an overlay of, as far as libvirt tells.
    """

    name: str
    disk_format: str
    file: Path | None
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """How a disk is held: `since` names the checkpoint that tells what to read; `checkpoint`: a new one begins."""

    disk: str
    scratch: Path
    since: str | None
    checkpoint: bool


def parse(text: str, what: str) -> Element:
    """The tree; MachineRefused, which calls it `what`, for anything else."""
    # Neither has libvirt's XML, and both are how such a text does harm.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise MachineRefused(f"{what} declares entities, which libvirt's XML never does")
    try:
        return ET.fromstring(text)  # noqa: S314 - no entities, see above
    except ET.ParseError as error:
        raise MachineRefused(f"{what} is no XML: {error}") from None


def is_domain(text: str) -> bool:
    """Whether it is meant to be libvirt's; what a monitor told is JSON."""
    return text.lstrip().startswith("<")


def text_of(root: Element) -> str:
    """As a file has it."""
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def disks_of(domain: Element) -> list[DomainDisk]:
    """The disks of a domain that are written to; not CDs, floppies and what is read-only."""
    return [found for each in domain.iterfind("devices/disk") if (found := _disk(each)) is not None]


def backup_xml(socket: str, held: Sequence[Held], others: Sequence[str]) -> str:
    """A pull backup of some disks and not of the others, served at a unix socket."""
    root = ET.Element("domainbackup", mode="pull")
    ET.SubElement(root, "server", transport="unix", socket=socket)
    disks = ET.SubElement(root, "disks")
    for each in held:
        since = (
            {"backupmode": "full"}
            if each.since is None
            else {"backupmode": "incremental", "incremental": each.since, "exportbitmap": EXPORTED}
        )
        disk = ET.SubElement(
            disks, "disk", {"name": each.disk, "backup": "yes", "type": "file", "exportname": each.disk, **since}
        )
        ET.SubElement(disk, "scratch", file=str(each.scratch))
    for name in others:
        ET.SubElement(disks, "disk", name=name, backup="no")
    return text_of(root)


def checkpoint_xml(name: str, held: Sequence[Held], others: Sequence[str]) -> str | None:
    """A checkpoint of the disks that can have one; None if none can."""
    marked = [each.disk for each in held if each.checkpoint]
    if not marked:
        return None
    root = ET.Element("domaincheckpoint")
    ET.SubElement(root, "name").text = name
    disks = ET.SubElement(root, "disks")
    for disk in marked:
        ET.SubElement(disks, "disk", name=disk, checkpoint="bitmap")
    for disk in [*(each.disk for each in held if not each.checkpoint), *others]:
        ET.SubElement(disks, "disk", name=disk, checkpoint="no")
    return text_of(root)


def marked_disks(checkpoint: Element) -> dict[str, str]:
    """Those of which a checkpoint has a bitmap, and what each lay in then; empty if that is not told."""
    domain = checkpoint.find("domain")
    lay = {} if domain is None else {each.name: each.sources[0] for each in disks_of(domain)}
    marked = [each.get("name", "") for each in checkpoint.iterfind("disks/disk") if each.get("checkpoint") == "bitmap"]
    return {name: lay.get(name, "") for name in marked}


def socket_of(backup: Element) -> str:
    """Where the backup that runs is served; empty if not at a unix socket."""
    server = backup.find("server")
    return "" if server is None else server.get("socket", "")


def restored(domain: Element, disk_format: str, files: Mapping[str, Path]) -> list[str]:
    """Makes the domain's disks these files; the disks of which there is none keep what they have, and are given."""
    left = []
    for each in domain.iterfind("devices/disk"):
        disk = _disk(each)
        if disk is None:
            continue
        if (file := files.get(disk.name)) is None:
            left.append(disk.name)
            continue
        each.set("type", "file")
        for old in [*each.iterfind("source"), *each.iterfind("backingStore"), *each.iterfind("mirror")]:
            each.remove(old)
        driver = each.find("driver")
        if driver is None:
            driver = ET.SubElement(each, "driver", name="qemu")
        driver.set("type", disk_format)
        ET.SubElement(each, "source", file=str(file))
    return left


def _disk(each: Element) -> DomainDisk | None:
    target, driver, source = each.find("target"), each.find("driver"), each.find("source")
    if each.get("device", "disk") != "disk" or target is None or source is None:
        return None
    if each.find("readonly") is not None or each.find("transient") is not None:
        return None
    file = source.get("file")
    disk_format = "raw" if driver is None else driver.get("type", "raw")
    sources = [source, *each.iterfind(".//backingStore/source")]
    return DomainDisk(
        target.get("dev", ""), disk_format, None if file is None else Path(file), tuple(map(_place, sources))
    )


def _place(source: Element) -> str:
    """A file's path, a device's, a volume's or an export's name: what tells one source of a machine from another."""
    keys = ("file", "dev", "protocol", "pool", "volume", "name")
    return " ".join(f"{key}={found}" for key in keys if (found := source.get(key)) is not None)
