"""`drystone vm backup --qmp` and `restore`, with a real qemu-storage-daemon for the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.places import drystone as command
from httpapi.client.push_terms import key_of
from httpapi.client.vm.room import held_room
from tests.kit.disks_in_use import DisksInUse
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kit.forked_program import ForkedPrograms

    Drystone = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.serial
BLOCK = 65536


@pytest.fixture
def drystone(data_root: Path, programs: ForkedPrograms, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drystone]:
    """A verb in a process of its own; its code, and what it printed on standard output and error."""
    with ServeProcess(data_root, programs) as server:
        monkeypatch.setenv("DRYSTONE_ENDPOINT", f"http://127.0.0.1:{server.port}")

        def call(*arguments: str) -> tuple[int, str, str]:
            process = programs.start(list(arguments), dict(os.environ))
            out, err = process.communicate(timeout=60)
            assert process.returncode is not None
            return process.returncode, out.decode(), err.decode()

        yield call


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[DisksInUse]:
    with DisksInUse(tmp_path, ("vda", "vdb")) as running:
        yield running


class Nights:
    def __init__(self, drystone: Drystone, disks: DisksInUse, room: Path) -> None:
        self.drystone, self.disks, self.room = drystone, disks, room
        self.told = ""

    def arguments(self, *more: str) -> tuple[str, ...]:
        return ("vm", "backup", "--qmp", self.disks.qmp, "--nbd", self.disks.nbd, "--name", "web", *more)

    def backup(self, *more: str) -> dict[str, Any]:
        """The disks of its document, by name."""
        code, out, self.told = self.drystone(*self.arguments(*more), "--json")
        assert code == 0, self.told
        return {each["disk"]: each for each in json.loads(out)["disks"]}

    def is_right(self, what: str = "web") -> None:
        """Its disks, brought back, are what the machine has."""
        code, _, told = self.drystone("vm", "restore", what, "--to", str(self.room), "--format", "raw", "--force")
        assert code == 0, told
        for name in self.disks.names:
            assert (self.room / f"{name}.raw").read_bytes() == self.disks.content(name)


@pytest.fixture
def nights(drystone: Drystone, disks: DisksInUse, tmp_path: Path) -> Nights:
    disks.write("vda", 0, 3 * BLOCK, 1)
    disks.write("vdb", 5 * BLOCK, BLOCK, 2)
    return Nights(drystone, disks, tmp_path / "restored")


def test_each_night_reads_what_was_written_since_the_last_one(nights: Nights) -> None:
    first = nights.backup()
    assert [(each["read"], each["why"]) for each in first.values()] == [("full", "it is the first backup")] * 2
    nights.is_right()
    # After a shutdown as well: the bitmaps are in the disks.
    nights.disks.stop()
    nights.disks.start()
    nights.disks.write("vda", 10 * BLOCK, BLOCK, 3)
    second = nights.backup()
    assert [(each["read"], each["dirty"], each["read_bytes"]) for each in second.values()] == [
        ("dirty", BLOCK, BLOCK),
        ("dirty", 0, 0),
    ]
    assert {name: each["parent"] for name, each in second.items()} == {name: first[name]["id"] for name in first}
    nights.is_right()
    nights.is_right(second["vdb"]["id"])
    for name in nights.disks.names:
        assert nights.disks.bitmaps(name) == {f"drystone-{second['vda']['id']}.{name}": True}
    assert nights.disks.left() == []


def test_disks_that_change_their_names_are_read_over_their_own_images(nights: Nights) -> None:
    first = nights.backup()
    nights.disks.stop()
    files = nights.disks.files
    files["vda"], files["vdb"] = files["vdb"], files["vda"]
    nights.disks.start()
    nights.disks.write("vda", 9 * BLOCK, BLOCK, 7)
    second = nights.backup()
    assert [(name, each["parent"], each["dirty"]) for name, each in second.items()] == [
        ("vda", first["vdb"]["id"], BLOCK),
        ("vdb", first["vda"]["id"], 0),
    ]
    nights.is_right()


def test_of_a_qemu_that_was_killed_all_is_read_and_what_differs_is_sent(nights: Nights) -> None:
    nights.backup()
    nights.disks.stop()
    nights.disks.start()
    for why in ("is not known", "there is no bitmap from the last backup"):
        nights.disks.write("vda", 20 * BLOCK, BLOCK, 4 + len(why) % 100)
        nights.disks.kill()
        nights.disks.start()
        done = nights.backup()["vda"]
        assert (done["read"], done["dirty"], done["unchanged"]) == ("full", None, done["size"] - BLOCK)
        assert 4 * BLOCK <= done["read_bytes"] <= done["size"]
        assert why in done["why"]
        assert f"vda: full read: {done['why']}" in nights.told
        nights.is_right()


def test_a_run_that_fails_leaves_no_image_and_the_next_one_reads_what_it_was_to_read(
    nights: Nights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = nights.backup()
    nights.disks.write("vda", 7 * BLOCK, BLOCK, 5)
    nights.disks.write("vdb", 8 * BLOCK, BLOCK, 6)
    path = os.environ["PATH"]
    # The first disk is asked for its bitmap, and pushed; the second one can't be.
    _program(tmp_path, f'case "$*" in *disk-1*) exit 1;; esac; PATH={path} exec nbdinfo "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{path}")
    code, _, told = nights.drystone(*nights.arguments())
    assert code == 1
    assert "the bitmap drystone-reading cannot be read" in told
    monkeypatch.setenv("PATH", path)
    listed = json.loads(nights.drystone("ls", "--json")[1])
    assert {each["id"] for each in listed} == {each["id"] for each in first.values()}
    assert nights.disks.left() == []
    assert list(nights.disks.bitmaps("vda")) == [f"drystone-{first['vda']['id']}.vda"]
    assert {name: each["dirty"] for name, each in nights.backup().items()} == {"vda": BLOCK, "vdb": BLOCK}
    nights.is_right()


def test_what_a_killed_run_has_left_the_next_one_ends(nights: Nights, tmp_path: Path) -> None:
    first = nights.backup()
    nights.disks.write("vda", 7 * BLOCK, BLOCK, 5)
    _program(tmp_path, f"echo > {tmp_path}/asked; sleep 30")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    running = subprocess.Popen([*command(), *nights.arguments()], env=os.environ | {"PATH": path})
    deadline = time.monotonic() + 20
    while not (tmp_path / "asked").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert nights.disks.left()
    done = nights.backup()
    assert "a backup that was killed had left its point in time" in nights.told
    assert (done["vda"]["dirty"], done["vda"]["parent"]) == (BLOCK, first["vda"]["id"])
    assert nights.disks.left() == []
    assert list(nights.disks.bitmaps("vda")) == [f"drystone-{done['vda']['id']}.vda"]
    nights.is_right()


def test_a_disk_that_is_left_out_keeps_its_bitmap(nights: Nights) -> None:
    first = nights.backup()
    nights.disks.write("vdb", 8 * BLOCK, BLOCK, 6)
    alone = nights.backup("--disk", "vda")
    assert list(alone) == ["vda"]
    both = nights.backup()
    assert (both["vdb"]["dirty"], both["vdb"]["parent"]) == (BLOCK, first["vdb"]["id"])
    assert both["vda"]["parent"] == alone["vda"]["id"]
    assert list(nights.disks.bitmaps("vdb")) == [f"drystone-{both['vda']['id']}.vdb"]
    nights.is_right()


def test_a_disk_that_keeps_no_bitmaps_has_one_as_long_as_its_qemu_runs(nights: Nights) -> None:
    nights.disks.stop()
    subprocess.run(["qemu-img", "amend", "-f", "qcow2", "-o", "compat=0.10", nights.disks.files["vda"]], check=True)
    nights.disks.start()
    nights.backup()
    nights.disks.write("vda", 9 * BLOCK, BLOCK, 7)
    assert {name: each["dirty"] for name, each in nights.backup().items()} == {"vda": BLOCK, "vdb": 0}
    nights.disks.stop()
    nights.disks.start()
    assert {name: each["read"] for name, each in nights.backup().items()} == {"vda": "full", "vdb": "dirty"}
    assert "vda: full read: there is no bitmap from the last backup" in nights.told
    nights.is_right()


@pytest.mark.parametrize("cut_to", [64 * BLOCK, 2 * BLOCK + 4096])
def test_a_disk_that_was_cut_and_made_longer_again_has_lost_what_no_bitmap_knows(nights: Nights, cut_to: int) -> None:
    nights.disks.write("vda", 128 * BLOCK, 2 * BLOCK, 5)
    nights.backup()
    nights.disks.stop()
    for size in (cut_to, nights.disks.size):
        command = ["qemu-img", "resize", "-q", "--shrink", "-f", "qcow2", str(nights.disks.files["vda"]), str(size)]
        subprocess.run(command, check=True)
    nights.disks.start()
    done = nights.backup()["vda"]
    # What is lost, and the three blocks before the cut, which may be in its middle.
    assert (done["read"], done["dirty"], done["read_bytes"]) == ("dirty", 0, 5 * BLOCK)
    nights.is_right()


def test_over_a_parent_that_is_gone_all_is_read(nights: Nights) -> None:
    first = nights.backup()
    second = nights.backup()
    assert nights.drystone("rm", "--yes", second["vda"]["id"])[0] == 0
    third = nights.backup()
    assert third["vda"]["read"] == "full"
    assert f"the image of the backup {second['vda']['id']}, which its bitmap goes on from, is gone" in nights.told
    # What there is of older ones is good enough to be compared with.
    assert third["vda"]["parent"] == first["vda"]["id"]
    assert third["vdb"]["read"] == "dirty"
    nights.is_right()


def test_what_inherits_the_properties_of_a_backup_is_none(nights: Nights, tmp_path: Path) -> None:
    first = nights.backup()["vda"]
    properties = json.loads(nights.drystone("show", first["id"], "--json")[1])
    given = [f"--property={name}={value}" for name, value in properties.items() if name.startswith("drystone_backup")]
    (tmp_path / "other").write_bytes(bytes(nights.disks.size))
    assert nights.drystone("push", str(tmp_path / "other"), "--name", "copy", *given)[0] == 0
    assert nights.drystone("rm", first["id"], "--yes")[0] == 0
    done = nights.backup()["vda"]
    assert (done["read"], done["parent"]) == ("full", None)
    nights.is_right()


def test_parent_none_makes_full_images(nights: Nights) -> None:
    nights.backup()
    done = nights.backup("--parent", "none")
    assert [(each["parent"], each["why"]) for each in done.values()] == [(None, "--parent none asks for it")] * 2
    assert nights.backup()["vda"]["dirty"] == 0


def test_a_second_backup_at_once_is_refused(nights: Nights) -> None:
    locks = Path(os.environ["XDG_STATE_HOME"], "drystone", "backups")
    what = ("qmp", os.path.realpath(nights.disks.qmp))
    with held_room(locks, what, "it"):
        assert "another backup of" in nights.drystone(*nights.arguments())[2]
    assert (locks / key_of(what)).exists()
    assert nights.drystone(*nights.arguments())[0] == 0


def test_a_server_that_serves_nbd_already_has_to_be_named(nights: Nights) -> None:
    arguments = [each for each in nights.arguments() if each not in {"--nbd", nights.disks.nbd}]
    assert "QEMU serves NBD already" in nights.drystone(*arguments)[2]
    assert nights.disks.left() == []


def test_backups_are_listed_and_one_that_is_not_whole_is_said_to_be_so(nights: Nights, tmp_path: Path) -> None:
    nights.backup()
    done = nights.backup()
    group = done["vda"]["id"]
    assert nights.drystone("vm", "ls", "--quiet")[1].splitlines()[0] == group
    assert nights.drystone("rm", "--yes", done["vdb"]["id"])[0] == 0
    listed = json.loads(nights.drystone("vm", "ls", "web", "--json")[1])
    assert [each["missing"] for each in listed] == [["vdb"], []]
    code, _, told = nights.drystone("vm", "restore", group, "--to", str(tmp_path / "part"))
    assert (code, "it lacks vdb" in told) == (1, True)
    part = ("vm", "restore", group, "--to", str(tmp_path / "part"), "--disk", "vda")
    assert nights.drystone(*part)[0] == 0
    assert (tmp_path / "part" / "vda.qcow2").exists()
    assert "is there already" in nights.drystone(*part)[2]


def _program(room: Path, script: str) -> None:
    """An nbdinfo of this test's own."""
    path = room / "bin" / "nbdinfo"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
