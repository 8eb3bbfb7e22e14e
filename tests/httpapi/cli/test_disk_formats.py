"""push of qcow2 and its like: the guest's blocks against a real server, by the verbs."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from httpapi.cli.root import run
from httpapi.client.disk_formats import served
from tests.kit.qemu_files import make_disk, make_overlay, seen_by_guest, write
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.kit.forked_program import ForkedPrograms

    Drystone = Callable[..., tuple[int, str, str]]

MIB = 1 << 20
DATA = os.urandom(2 * MIB) + bytes(2 * MIB) + os.urandom(MIB)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are remembered although they were written just before."""
    monkeypatch.setattr("httpapi.client.names_cache.QUIET_SECONDS", -3600.0)


@pytest.fixture
def drystone(
    data_root: Path, programs: ForkedPrograms, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Drystone]:
    """A verb in this process, against a server of its own."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    with ServeProcess(data_root, programs) as server:
        monkeypatch.setenv("DRYSTONE_ENDPOINT", f"http://127.0.0.1:{server.port}")
        yield call


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The disks for which qemu-nbd was started."""
    names: list[str] = []
    first = served.Served.__init__

    def starting(self: served.Served, layers: Any, name: str) -> None:
        names.append(name)
        first(self, layers, name)

    monkeypatch.setattr(served.Served, "__init__", starting)
    return names


def push(drystone: Drystone, *arguments: str | Path) -> Any:
    code, out, err = drystone("push", "--json", *map(str, arguments))
    assert code == 0, err
    return {**json.loads(out), "told": err}


def show(drystone: Drystone, image: str) -> Any:
    return json.loads(drystone("show", "--json", image)[1])


def pulled(drystone: Drystone, tmp_path: Path, image: str) -> bytes:
    path = tmp_path / "pulled"
    assert drystone("pull", image, str(path), "--force")[0] == 0
    return path.read_bytes()


@pytest.mark.parametrize("disk_format", ["qcow2", "vmdk", "vhdx", "vdi"])
def test_the_guests_blocks_become_a_raw_image_that_the_next_version_shares(
    drystone: Drystone, tmp_path: Path, disk_format: str
) -> None:
    first = push(drystone, make_disk(tmp_path / f"disk.{disk_format}", disk_format, DATA))
    assert f"is {disk_format}: its guest's {len(DATA)} bytes are pushed, as a raw image" in first["told"]
    assert show(drystone, first["id"])["disk_format"] == "raw"
    assert pulled(drystone, tmp_path, "disk") == DATA
    changed = DATA[:MIB] + os.urandom(70_000) + DATA[MIB + 70_000 :]
    again = push(drystone, make_disk(tmp_path / f"disk.{disk_format}", disk_format, changed))
    assert (again["parent"], again["unchanged"]) == (first["id"], len(DATA) - 2 * 65536)
    assert again["sent"] < 140_000
    assert pulled(drystone, tmp_path, "disk") == changed


def test_as_is_or_a_format_that_is_said_keeps_the_files_bytes(
    drystone: Drystone, tmp_path: Path, started: list[str]
) -> None:
    path = make_disk(tmp_path / "disk.qcow2", "qcow2", DATA)
    for options in (["--as-is"], ["--disk-format", "qcow2"]):
        image = push(drystone, path, "--parent", "none", *options)
        assert show(drystone, image["id"])["disk_format"] == "qcow2"
        assert pulled(drystone, tmp_path, image["id"]) == path.read_bytes()
    assert not started
    assert show(drystone, push(drystone, path, "--disk-format", "raw")["id"])["size"] == len(DATA)


def test_a_file_that_has_not_changed_is_not_read_again(drystone: Drystone, tmp_path: Path, started: list[str]) -> None:
    path = make_disk(tmp_path / "disk.qcow2", "qcow2", DATA, "-c")
    first = push(drystone, path)
    second = push(drystone, path)
    assert (second["parent"], second["sent"]) == (first["id"], 0)
    kept = push(drystone, path, "--as-is")
    assert show(drystone, kept["id"])["size"] == path.stat().st_size
    assert started == [str(path)]
    write(path, "write -P 5 1M 64k")
    assert push(drystone, path)["unchanged"] == len(DATA) - 65536
    assert pulled(drystone, tmp_path, "disk") == seen_by_guest(path, "qcow2")


def test_of_an_overlay_only_its_own_extents_are_read_where_its_base_was_pushed(
    drystone: Drystone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(DATA)
    parent = push(drystone, base)
    overlay = make_overlay(tmp_path / "vm.qcow2", "base.raw", "raw", 8 * MIB)
    write(overlay, "write -P 9 512k 1k", "write -z 1M 64k", "write -P 3 7M 64k")
    read = count_reads(monkeypatch)
    first = push(drystone, overlay)
    assert f"lies over {base}, which is image {parent['id']}: its parent" in first["told"]
    assert f"only what lies over {base} is read" in first["told"]
    assert (first["parent"], sum(read)) == (parent["id"], 2 * 65536)
    assert pulled(drystone, tmp_path, "vm") == seen_by_guest(overlay, "qcow2")
    write(overlay, "write -P 4 2M 64k")
    read.clear()
    second = push(drystone, overlay)
    assert (second["parent"], sum(read)) == (first["id"], 3 * 65536)
    assert second["unchanged"] == 8 * MIB - 65536
    assert pulled(drystone, tmp_path, "vm") == seen_by_guest(overlay, "qcow2")


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes are read over NBD, each time."""
    from httpapi.client.nbd_file import NbdFile

    counted: list[int] = []
    fill = NbdFile.fill

    def counting(self: NbdFile, piece: memoryview, offset: int) -> memoryview:
        counted.append(len(piece))
        return fill(self, piece, offset)

    monkeypatch.setattr(NbdFile, "fill", counting)
    return counted


def test_where_the_base_has_changed_since_all_is_read(
    drystone: Drystone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(DATA)
    parent = push(drystone, base)
    with base.open("r+b") as file:
        file.write(b"otherwise")
    overlay = make_overlay(tmp_path / "vm.qcow2", "base.raw", "raw", len(DATA))
    write(overlay, "write -P 9 512k 1k")
    read = count_reads(monkeypatch)
    image = push(drystone, overlay, "--parent", parent["id"])
    assert sum(read) == len(DATA)
    assert image["unchanged"] == len(DATA) - 2 * 65536
    assert pulled(drystone, tmp_path, "vm") == seen_by_guest(overlay, "qcow2")


def test_a_list_of_changed_extents_is_of_the_guests_bytes(
    drystone: Drystone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_disk(tmp_path / "disk.qcow2", "qcow2", DATA)
    push(drystone, path)
    write(path, "write -P 4 128k 64k")
    (tmp_path / "list").write_text(
        json.dumps([{"start": 0, "length": len(DATA), "depth": 1}, {"start": 131072, "length": 65536, "depth": 0}])
    )
    read = count_reads(monkeypatch)
    push(drystone, path, "--changed-extents", tmp_path / "list")
    assert sum(read) == 65536
    assert pulled(drystone, tmp_path, "disk") == seen_by_guest(path, "qcow2")


def test_a_file_that_must_not_be_read_makes_no_image(drystone: Drystone, tmp_path: Path) -> None:
    overlay = make_overlay(tmp_path / "vm.qcow2", "/etc/shadow", "raw", MIB)
    cut_off = make_disk(tmp_path / "cut.qcow2", "qcow2", os.urandom(MIB))
    os.truncate(cut_off, 600_000)
    for path in (overlay, cut_off):
        code, out, err = drystone("push", str(path))
        assert (code, out) == (1, "")
        assert "--as-is" in err
    assert json.loads(drystone("ls", "--json")[1]) == []


def test_standard_input_is_kept_as_it_is_and_that_is_told(
    drystone: Drystone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_disk(tmp_path / "disk.qcow2", "qcow2", DATA)
    with path.open("rb") as file:
        monkeypatch.setattr("httpapi.client.source.STANDARD_INPUT", file.fileno())
        code, _, err = drystone("push", "-", "--name", "disk", "--disk-format", "qcow2")
    assert code == 0
    assert "standard input is a qcow2, and is kept as it is: name a file, and its guest's blocks are stored" in err
    assert pulled(drystone, tmp_path, "disk") == path.read_bytes()


@pytest.mark.parametrize(
    ("disk_format", "options"),
    [("qcow2", []), ("qcow2", ["--compressed"]), ("vmdk", []), ("vmdk", ["--compressed"]), ("vhdx", []), ("vdi", [])],
)
def test_an_image_comes_as_a_file_of_another_format(
    drystone: Drystone, tmp_path: Path, disk_format: str, options: list[str]
) -> None:
    (tmp_path / "disk.raw").write_bytes(DATA)
    push(drystone, tmp_path / "disk.raw")
    path = tmp_path / "out" / f"disk.{disk_format}"
    path.parent.mkdir()
    code, out, err = drystone("pull", "disk", str(path), "--format", disk_format, *options)
    assert (code, out.strip(), err) == (0, str(path), f"drystone: converting to {disk_format}\n")
    assert seen_by_guest(path, disk_format) == DATA
    assert list(path.parent.iterdir()) == [path]
    code, _, err = drystone("pull", "disk", str(path), "--format", disk_format)
    assert code == 1
    assert "exists" in err


def test_an_image_that_is_kept_as_it_is_can_be_converted_as_well(drystone: Drystone, tmp_path: Path) -> None:
    path = make_disk(tmp_path / "disk.qcow2", "qcow2", DATA, "-c")
    push(drystone, path, "--as-is")
    assert drystone("pull", "disk", str(tmp_path / "same.qcow2"), "--format", "qcow2")[0] == 0
    assert (tmp_path / "same.qcow2").read_bytes() == path.read_bytes()
    assert drystone("pull", "disk", str(tmp_path / "disk.raw"), "--format", "raw")[0] == 0
    assert (tmp_path / "disk.raw").read_bytes() == DATA


def test_a_suffix_that_is_another_formats_is_told(drystone: Drystone, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(DATA)
    push(drystone, tmp_path / "disk.raw")
    code, _, err = drystone("pull", "disk", str(tmp_path / "odd.qcow2"))
    assert (code, (tmp_path / "odd.qcow2").read_bytes()) == (0, DATA)
    assert "odd.qcow2 will be raw, whatever its name says; --format qcow2 converts it" in err


def test_a_conversion_that_fails_leaves_nothing(drystone: Drystone, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(DATA)
    push(drystone, tmp_path / "disk.raw")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "qemu-img").write_text("#!/bin/sh\necho 'qemu-img: error while writing: No space left' >&2; exit 1\n")
    (tools / "qemu-img").chmod(0o755)
    out = tmp_path / "out"
    out.mkdir()
    (out / "vm.qcow2").write_bytes(b"as it was")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tools}:/usr/bin:/bin")
        code, _, err = drystone("pull", "disk", str(out / "vm.qcow2"), "--format", "qcow2", "--force")
    assert code == 1
    assert "qemu-img could not make" in err
    assert "No space left" in err
    assert list(out.iterdir()) == [out / "vm.qcow2"]
    assert (out / "vm.qcow2").read_bytes() == b"as it was"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--format", "vdi", "--compressed"], "--compressed goes with --format qcow2 or vmdk"),
        (["--compressed"], "--compressed goes with --format qcow2 or vmdk"),
        (["--format", "qcow2", "--seed", "x"], "are for the image's own format, raw"),
        (["--format", "vhd"], "'vhd' is not one of"),
    ],
)
def test_what_does_not_go_together_is_told(drystone: Drystone, tmp_path: Path, arguments: list[str], why: str) -> None:
    (tmp_path / "disk.raw").write_bytes(DATA)
    push(drystone, tmp_path / "disk.raw")
    code, _, err = drystone("pull", "disk", str(tmp_path / "x"), *arguments)
    assert code == 2
    assert why in err


def lab(tmp_path: Path) -> Path:
    """Two machines over a golden image, one of them over a snapshot, and what is no disk."""
    here = tmp_path / "lab"
    here.mkdir()
    make_disk(here / "golden.qcow2", "qcow2", DATA)
    write(make_overlay(here / "a.qcow2", "golden.qcow2", "qcow2", len(DATA)), "write -P 1 1M 64k")
    write(make_overlay(here / "a-snapshot.snap1", "a.qcow2", "qcow2", len(DATA)), "write -P 2 2M 64k")
    (here / "base.raw").write_bytes(DATA[:MIB])
    write(make_overlay(here / "b.qcow2", "base.raw", "raw", MIB), "write -P 3 0 64k")
    (here / "notes.txt").write_bytes(b"no disk")
    return here


def imported(drystone: Drystone, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    found, out, err = drystone("import", "--json", *map(str, arguments))
    assert found == code, err
    return {each["name"]: each for each in json.loads(out)}


def test_a_directory_of_chains_becomes_parents_and_children(drystone: Drystone, tmp_path: Path) -> None:
    here = lab(tmp_path)
    planned = imported(drystone, here, "--dry-run", "--name", "lab-{}")
    assert {each["result"] for each in planned.values()} == {"planned"}
    assert json.loads(drystone("ls", "--json")[1]) == []
    found = imported(drystone, here, "--name", "lab-{}")
    assert list(found) == list(planned)
    assert {name: each["result"] for name, each in found.items()} == {
        "lab-base": "imported", "lab-golden": "imported", "lab-a": "imported", "lab-b": "imported",
        "lab-a-snapshot": "imported",
    }  # fmt: skip
    for child, parent in (("a", "golden"), ("a-snapshot", "a"), ("b", "base")):
        assert found[f"lab-{child}"]["parent"] == found[f"lab-{parent}"]["id"]
        assert found[f"lab-{child}"]["sent"] < 2 * 65536
    for name, file in (("a", "a.qcow2"), ("a-snapshot", "a-snapshot.snap1"), ("b", "b.qcow2")):
        assert pulled(drystone, tmp_path, f"lab-{name}") == seen_by_guest(here / file, "qcow2")


def test_what_is_there_already_is_not_imported_again(drystone: Drystone, tmp_path: Path) -> None:
    here = lab(tmp_path)
    first = imported(drystone, here)
    again = imported(drystone, here)
    assert {each["result"] for each in again.values()} == {"there"}
    assert {name: each["id"] for name, each in again.items()} == {name: each["id"] for name, each in first.items()}
    # Another machine remembers nothing, and reads.
    shutil.rmtree(tmp_path / "state")
    assert {each["result"] for each in imported(drystone, here).values()} == {"there"}
    write(here / "a-snapshot.snap1", "write -P 9 3M 64k")
    changed = imported(drystone, here)
    assert {name for name, each in changed.items() if each["result"] == "imported"} == {"a-snapshot"}
    assert changed["a-snapshot"]["parent"] == first["a"]["id"]


def test_one_that_must_not_be_read_holds_up_only_what_lies_over_it(drystone: Drystone, tmp_path: Path) -> None:
    here = lab(tmp_path)
    make_overlay(here / "hostile.qcow2", "/etc/shadow", "raw", MIB)
    os.truncate(here / "golden.qcow2", 600_000)
    code, out, err = drystone("import", str(here))
    assert code == 1
    assert {line.split("\t")[1]: line.split("\t")[2] for line in out.splitlines()} == {
        "base": "imported", "b": "imported", "golden": "failed", "a": "failed", "a-snapshot": "failed",
    }  # fmt: skip
    assert "hostile.qcow2 is not imported: " in err
    assert "what it lies over, " in err
    assert "left alone: " in err


def test_options_that_are_not_for_a_directory_are_told(drystone: Drystone, tmp_path: Path) -> None:
    for arguments in (["--name", "all"], ["--store", "fast"], ["--no-wait"]):
        assert drystone("import", str(tmp_path), *arguments)[0] == 2
    assert drystone("import", "--uri", "http://127.0.0.1/x", "--dry-run")[0] == 2
