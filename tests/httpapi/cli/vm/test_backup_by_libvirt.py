"""`drystone vm backup DOMAIN`: what libvirt is told, in which order; libvirt and the export are played."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from httpapi.cli.root import run
from tests.kit.image_service import image_service
from tests.kit.nbd_server import NbdServer
from tests.kit.played_libvirt import PlayedLibvirt
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 65536


class Backups:
    def __init__(self, libvirt: PlayedLibvirt, export: NbdServer, capfd: pytest.CaptureFixture[str]) -> None:
        self.libvirt, self.export, self._capfd = libvirt, export, capfd
        self.told = ""

    def run(self, *more: str) -> tuple[int, str]:
        code = run(["vm", "backup", "web", "--nbd", str(self.export.path), *more])
        out, self.told = self._capfd.readouterr()
        return code, out

    def backup(self, *more: str) -> Any:
        """Its document, and what virsh was told."""
        code, out = self.run("--json", "--no-freeze", *more)
        assert code == 0, self.told
        return json.loads(out)

    def dirty(self, *blocks: int) -> None:
        """What the bitmap says."""
        rows = [{"offset": each * BLOCK, "length": BLOCK, "type": 1, "description": "dirty"} for each in blocks]
        rows.append({"offset": 0, "length": len(self.export.data), "type": 0, "description": "clean"})
        self.libvirt.put("map.json", json.dumps(rows))


@pytest.fixture
def backups(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Backups]:
    libvirt = PlayedLibvirt(tmp_path / "libvirt")
    nbdinfo = libvirt.path / "nbdinfo"
    nbdinfo.write_text(f"#!/bin/sh\ncat {libvirt.room}/map.json\n")
    nbdinfo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{libvirt.path}:{os.environ['PATH']}")
    data = bytearray(os.urandom(4 * BLOCK))
    with (
        image_service(data_root, block_size=BLOCK) as service,
        RunningServer(service.services) as server,
        NbdServer(tmp_path / "nbd", data) as export,
    ):
        monkeypatch.setenv("DRYSTONE_ENDPOINT", f"http://127.0.0.1:{server.port}")
        yield Backups(libvirt, export, capfd)


def test_a_checkpoint_goes_when_the_next_image_is_there(backups: Backups) -> None:
    first = backups.backup()
    assert (first["name"], first["disks"][0]["read"]) == ("web", "full")
    assert backups.libvirt.taken() == ["backup-begin web", "domjobabort web"]
    backups.dirty(2)
    second = backups.backup()
    assert (second["disks"][0]["dirty"], second["disks"][0]["read_bytes"]) == (BLOCK, BLOCK)
    assert second["disks"][0]["parent"] == first["group"]
    told = backups.libvirt.taken()
    assert told == ["backup-begin web", "domjobabort web", f"checkpoint-delete web drystone-{first['group']}"]
    assert backups.libvirt.checkpoints == [f"drystone-{second['group']}"]


def test_a_broken_checkpoint_makes_it_read_all_and_goes(backups: Backups) -> None:
    first = backups.backup()
    backups.libvirt.put("broken")
    backups.libvirt.taken()
    done = backups.backup()
    assert done["disks"][0]["read"] == "full"
    assert "missing or broken bitmap" in done["disks"][0]["why"]
    assert "disk: full read: what was written since the last backup is lost" in backups.told
    gone = f"checkpoint-delete web drystone-{first['group']}"
    assert backups.libvirt.taken() == ["backup-begin web"] * 2 + ["domjobabort web", gone, f"{gone} --metadata"]
    backups.libvirt.mend("broken")
    backups.dirty()
    assert backups.backup()["disks"][0]["dirty"] == 0


def test_a_checkpoint_of_another_file_under_the_disks_name_makes_it_read_all(backups: Backups) -> None:
    backups.backup()
    domain = (backups.libvirt.room / "domain.xml").read_text()
    for overlay, how in (("<backingStore><source file='{}'/></backingStore>", "dirty"), ("", "full")):
        now = domain.replace("disk.qcow2'/>", "another.qcow2'/>" + overlay.format(backups.libvirt.room / "disk.qcow2"))
        backups.libvirt.put("domain.xml", now)
        backups.dirty()
        assert backups.backup("--tag", how)["disks"][0]["read"] == how
        backups.libvirt.put("then.xml", domain)


def test_a_failure_takes_back_the_new_checkpoint_alone(backups: Backups) -> None:
    first = backups.backup()
    backups.libvirt.put("map.json", "no list")
    assert backups.run("--no-freeze")[0] == 1
    assert backups.libvirt.checkpoints == [f"drystone-{first['group']}"]
    assert not (backups.libvirt.room / "job").exists()


def test_a_job_that_a_killed_backup_left_is_ended_and_anothers_is_not(backups: Backups) -> None:
    ours, theirs = (
        f"<domainbackup><server socket='{each}'/></domainbackup>" for each in (backups.export.path, "/somebody's")
    )
    backups.libvirt.put("job", theirs.replace("'/somebody's'", '"/somebody\'s"'))
    assert backups.run()[0] == 1
    assert "another backup of web is under way, at /somebody's" in backups.told
    assert backups.libvirt.taken() == []
    backups.libvirt.put("job", ours)
    backups.backup()
    assert "a backup that was killed had left its point in time" in backups.told
    assert backups.libvirt.taken()[0] == "domjobabort web"


def test_only_libvirts_word_that_no_backup_runs_is_taken_for_that(backups: Backups) -> None:
    backups.libvirt.put("refuse-backup-dumpxml", "cannot acquire state change lock")
    backups.libvirt.put("refuse-domjobinfo", "cannot acquire state change lock")
    assert backups.run("--no-freeze")[0] == 1
    assert "cannot acquire state change lock" in backups.told
    assert backups.libvirt.taken() == []
    # In the end: the images are there, and what may be left is told.
    backups.libvirt.mend("refuse-domjobinfo")
    backups.libvirt.mend("refuse-backup-dumpxml")
    nbdinfo = backups.libvirt.path / "nbdinfo"
    refusal = backups.libvirt.room / "refuse-backup-dumpxml"
    backups.backup()
    nbdinfo.write_text(
        f"#!/bin/sh\nprintf 'End of file while reading data' > {refusal}\ncat {refusal.parent}/map.json\n"
    )
    backups.dirty()
    backups.libvirt.taken()
    backups.backup()
    assert "End of file while reading data: the images are whole, and the next backup clears up" in backups.told
    assert "domjobabort web" not in backups.libvirt.taken()


def test_a_libvirt_that_speaks_another_language_is_understood(backups: Backups) -> None:
    backups.libvirt.put("no-job", "keine Sicherung")
    backups.backup()
    assert backups.libvirt.taken() == ["backup-begin web", "domjobabort web"]


def test_a_killed_runs_checkpoint_is_of_no_use(backups: Backups) -> None:
    backups.libvirt.put("checkpoints", "drystone-9f0c8f4e-1b53-4c5e-8f6e-0d4c7a0a3a11 mine drystone-mine")
    assert "its bitmap goes on from, is gone" in backups.backup()["disks"][0]["why"]
    # What is nobody's here stays.
    assert backups.libvirt.checkpoints[:2] == ["mine", "drystone-mine"]
    assert len(backups.libvirt.checkpoints) == 3


def test_file_systems_are_frozen_around_the_beginning_alone(backups: Backups) -> None:
    code, out = backups.run("--json")
    assert (code, json.loads(out)["frozen"]) == (0, 2)
    assert backups.libvirt.taken() == ["domfsfreeze web", "backup-begin web", "domfsthaw web", "domjobabort web"]
    backups.dirty()
    backups.libvirt.put("refuse-domfsfreeze", "Guest agent is not responding")
    assert json.loads(backups.run("--json")[1])["frozen"] is None
    assert backups.run("--freeze")[0] == 1
    assert "Guest agent is not responding" in backups.told


def test_a_machine_that_does_not_run_is_none_to_back_up(backups: Backups) -> None:
    backups.libvirt.put("state", "shut off\n")
    assert backups.run()[0] == 1
    assert "web does not run" in backups.told
    backups.libvirt.put("refuse-dumpxml", "failed to get domain 'web'")
    assert backups.run()[0] == 1
    assert "failed to get domain 'web'" in backups.told


def test_its_xml_comes_back_with_it(backups: Backups, tmp_path: Path) -> None:
    done = backups.backup()
    assert run(["vm", "restore", done["group"][:8], "--to", str(tmp_path / "again"), "--format", "raw"]) == 0
    assert (tmp_path / "again" / "disk.raw").read_bytes() == backups.export.data
    assert f'file="{tmp_path}/again/disk.raw"' in (tmp_path / "again" / "web.xml").read_text()


@pytest.mark.parametrize("name", ["Windows 10", "a/b", "Сервер"])
def test_a_machine_of_any_name_comes_back(backups: Backups, tmp_path: Path, name: str) -> None:
    group = backups.backup("--name", name)["group"]
    assert run(["vm", "restore", group, "--to", str(tmp_path / "again")]) == 0
    xml = name.replace(" ", "_").replace("/", "_") + ".xml"
    assert sorted(each.name for each in (tmp_path / "again").iterdir()) == sorted(["disk.qcow2", xml])


@pytest.mark.parametrize("left", ["name", "uuid"])
def test_another_domains_definition_is_replaced_only_with_force(backups: Backups, tmp_path: Path, left: str) -> None:
    group = backups.backup()["group"]
    again = ["vm", "restore", group, "--to", str(tmp_path / "again"), "--define"]
    for each in {"name", "uuid"} - {left}:
        backups.libvirt.put(f"domains--{each}")
    backups.libvirt.taken()
    assert run(again) == 1
    # Before anything comes.
    assert not (tmp_path / "again").exists()
    assert backups.libvirt.taken() == []
    backups.libvirt.put("refuse-list", "failed to connect to the hypervisor")
    assert run(again) == 1
    backups.libvirt.mend("refuse-list")
    assert run([*again, "--force"]) == 0
    assert backups.libvirt.taken() == ["define"]
    assert f"{tmp_path}/again/disk.qcow2" in (backups.libvirt.room / "defined.xml").read_text()


def test_a_domain_that_libvirt_has_not_is_defined(
    backups: Backups, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    group = backups.backup()["group"]
    again = ["vm", "restore", group, "--to", str(tmp_path / "again"), "--define"]
    assert run(again) == 1
    assert "libvirt has a domain with the name web" in capfd.readouterr().err
    backups.libvirt.put("domains--name", "another web\n")
    backups.libvirt.put("domains--uuid", "5dea22b3-1d52-d8f3-2516-782e98ab3fa0\n")
    backups.libvirt.taken()
    assert run(again) == 0
    assert backups.libvirt.taken() == ["define"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Missing argument 'DOMAIN'"),
        (["web", "--qmp", "/q"], "both say what to back up"),
        (["--qmp", "/q", "--connect", "x"], "--connect is for libvirt"),
        (["web", "--agent", "/a"], "--agent is for --qmp"),
    ],
)
def test_a_machine_is_named_one_way(
    arguments: list[str], told: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["vm", "backup", *arguments]) == 2
    assert told in capfd.readouterr().err
