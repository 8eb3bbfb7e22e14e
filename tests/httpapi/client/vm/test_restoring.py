"""What a machine is made of again: libvirt's XML with other files, or a command."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from httpapi.client.errors import ClientError
from httpapi.client.vm import domain_xml
from httpapi.client.vm.domain_xml import Held
from httpapi.client.vm.file_names import file_name, file_names
from httpapi.client.vm.groups import packed, unpacked
from httpapi.client.vm.machine import MachineRefused
from httpapi.client.vm.start import start_command

DOMAIN = """<domain type='kvm'><name>web</name><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/><source file='/old/a &amp; b.qcow2'/>
<backingStore/><target dev='vda' bus='virtio'/></disk>
<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg/web'/><target dev='vdb'/></disk>
<disk type='file' device='disk'><source file='/iso/ro'/><target dev='vdc'/><readonly/></disk>
<disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>
<interface type='network'/></devices></domain>"""


def test_the_disks_of_a_domain_are_those_that_are_written_to() -> None:
    found = domain_xml.disks_of(domain_xml.parse(DOMAIN, "it"))
    assert [(each.name, each.disk_format, each.file) for each in found] == [
        ("vda", "qcow2", Path("/old/a & b.qcow2")),
        ("vdb", "raw", None),
    ]


def test_a_restored_domain_has_the_new_files_and_all_else_as_it_was() -> None:
    domain = domain_xml.parse(DOMAIN, "it")
    left = domain_xml.restored(domain, "qcow2", {"vda": Path("/new/<vda>.qcow2")})
    assert left == ["vdb"]
    again = domain_xml.parse(domain_xml.text_of(domain), "it")
    assert [each.file for each in domain_xml.disks_of(again)] == [Path("/new/<vda>.qcow2"), None]
    first = again.find("devices/disk")
    assert first is not None
    assert first.find("backingStore") is None
    assert [each.get("discard") for each in first.iterfind("driver")] == ["unmap"]
    domain_xml.restored(again, "raw", {"vda": Path("/a"), "vdb": Path("/b")})
    assert [(each.disk_format, each.file) for each in domain_xml.disks_of(again)] == [
        ("raw", Path("/a")),
        ("raw", Path("/b")),
    ]


@pytest.mark.parametrize("text", ["<domain", "", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'])
def test_what_is_no_xml_of_libvirts_is_refused(text: str) -> None:
    with pytest.raises(MachineRefused, match="what came"):
        domain_xml.parse(text, "what came")


def test_names_in_a_backups_xml_are_no_xml() -> None:
    held = [Held("vda", Path("/s/'<&"), "drystone-1", checkpoint=True), Held("vdb", Path("/b"), None, checkpoint=False)]
    backup = domain_xml.parse(domain_xml.backup_xml("/sock'et", held, ["vdc"]), "it")
    assert domain_xml.socket_of(backup) == "/sock'et"
    disks = [dict(each.attrib) for each in backup.iterfind("disks/disk")]
    assert [each.get("incremental") for each in disks] == ["drystone-1", None, None]
    assert [each["backup"] for each in disks] == ["yes", "yes", "no"]
    text = domain_xml.checkpoint_xml("drystone-2", held, ["vdc"])
    assert text is not None
    assert list(domain_xml.marked_disks(domain_xml.parse(text, "it"))) == ["vda"]
    assert domain_xml.checkpoint_xml("drystone-2", held[1:], []) is None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("vda", "vda"),
        ("Windows 10", "Windows_10"),
        ("Сервер-1", "Сервер-1"),
        ("u\u0308ber", "über"),
        ("a/b", "a_b"),
        ("device[1]", "device_1_"),
        ("../../etc", "_._.._etc"),
        ("-rf", "_rf"),
        ("a\n\x1b[2J\u202e\ud800", "a___2J__"),
        ("ы" * 300, "ы" * 100),
    ],
)
def test_any_name_makes_a_file(name: str, file: str) -> None:
    assert file_name(name) == file


def test_names_that_make_no_file_or_one_file_of_two_are_refused() -> None:
    assert file_names(["a b", "a-b"]) == {"a b": "a_b", "a-b": "a-b"}
    with pytest.raises(ClientError, match="'a b' and 'a/b' would both be a_b"):
        file_names(["vda", "a b", "a/b"])
    with pytest.raises(ClientError, match="without a name"):
        file_name("")


def test_letters_that_the_locale_has_not_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsencode", lambda text: text.encode("latin-1"))
    assert file_name("über ы") == "_ber__"


def test_a_description_that_is_long_is_kept_packed() -> None:
    long = "".join(random.Random(1).choices("abcdefgh", k=90_000))
    for text in ("<domain/>", long):
        kept = packed(text)
        assert kept is not None
        assert len(kept) <= 60_000
        assert unpacked(kept) == text
    assert packed(random.Random(3).randbytes(200_000).hex()) is None
    assert unpacked("zlib:!") is None
    assert unpacked("zlib:eJw=") is None


def test_a_machine_by_qmp_is_started_by_a_command() -> None:
    told = {
        "name": "web",
        "uuid": "no uuid; rm -rf /",
        "arch": "x86_64",
        "machine": "pc-q35-7.2",
        "memory": 160 << 20,
        "cpus": 2,
        "disks": [{"name": "vda", "device": "virtio-blk-pci,addr=9"}, {"name": "vdb", "device": "ide-hd"}],
    }
    words = start_command(json.dumps(told), {"vda": Path("/a,b"), "vdb": Path("/c")}, "raw")
    assert words[:9] == ["qemu-system-x86_64", "-name", "web", "-machine", "pc-q35-7.2", "-m", "160", "-smp", "2"]
    assert words[9:] == [
        *("-blockdev", "driver=raw,node-name=disk0,file.driver=file,file.filename=/a,,b"),
        *("-device", "virtio-blk-pci,drive=disk0"),
        *("-blockdev", "driver=raw,node-name=disk1,file.driver=file,file.filename=/c"),
        *("-device", "ide-hd,drive=disk1"),
    ]
    assert start_command('{"disks": []}', {}, "raw") == ()
    assert start_command("no JSON", {}, "raw") == ()
