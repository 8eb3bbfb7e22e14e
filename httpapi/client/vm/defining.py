"""Making a restored domain known to libvirt, in no other one's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from httpapi.client.errors import ClientError, TargetRefused
from httpapi.client.vm import domain_xml
from httpapi.client.vm.virsh import Virsh

if TYPE_CHECKING:
    from pathlib import Path

    from httpapi.client.vm.groups import Group


def check_definable(group: Group, connect: str | None, *, force: bool) -> None:
    """Before anything is restored. TargetRefused if libvirt has a domain of this name or UUID, unless `force` is set.

    `virsh define` would ask nobody: a domain of this UUID would have the restored disks, and its own ones no more.
    """
    told = group.machine
    if told is None or not domain_xml.is_domain(told):
        raise ClientError("this backup was not made by libvirt: there is no domain to define")
    if force:
        return
    root = domain_xml.parse(told, f"what backup {group.id} has of its machine")
    virsh = Virsh(connect)
    for what, key in (("name", "name"), ("UUID", "uuid")):
        value = (root.findtext(key) or "").strip()
        if value and value in virsh.names("list", "--all", f"--{key}"):
            raise TargetRefused(
                f"libvirt has a domain with the {what} {value}, whose definition --define would replace: undefine that "
                "one, restore without --define and change the XML, or say --force to replace it"
            )


def define(machine: Path, connect: str | None) -> None:
    """`virsh define`."""
    Virsh(connect).run("define", str(machine))
