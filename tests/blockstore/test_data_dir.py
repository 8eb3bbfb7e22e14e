from __future__ import annotations

import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from blockstore import clock, data_dir
from blockstore.checksum import xxh3
from blockstore.data_dir import FOLDERS, FORMAT_SIZE, DataDir, decode_format, encode_format, network_file_system
from blockstore.disk import Disk
from blockstore.errors import BlockstoreError, Damaged, DataRefused, StoreUnavailable
from blockstore.features import CONTENT_DEFINED, Features
from blockstore.leases.flock import LockFile, try_lock

ROOT = Path(__file__).parents[2]
STORE = bytes(range(16))
OPEN = """
import sys
from pathlib import Path
from blockstore.data_dir import DataDir
from blockstore.disk import Disk
print("ready", flush=True)
sys.stdin.readline()
data = DataDir.open(Path(sys.argv[1]), Disk())
print(data.store.hex(), data.process.name, flush=True)
sys.stdin.read()
"""
LOCAL = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw"


def opener(root: Path) -> subprocess.Popen[str]:
    """A process that opens the directory when it gets a line, and holds it until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, str(root)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_new_directory_is_made_with_all_its_parts(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "data"
    with closing(DataDir.open(root, Disk())) as data:
        assert {path.name for path in root.iterdir()} == {"format", "lock", *FOLDERS}
        assert decode_format((root / "format").read_bytes(), "it") == data.store
        assert data.folder("packs") == root / "packs"
        assert root.stat().st_mode & 0o777 == 0o700


def test_it_is_the_same_store_when_it_is_opened_again(tmp_path: Path) -> None:
    first = DataDir.open(tmp_path, Disk())
    first.close()
    second = DataDir.open(tmp_path, Disk())
    assert second.store == first.store
    second.close()


def test_a_process_is_alive_while_it_has_the_directory_open(tmp_path: Path) -> None:
    with closing(DataDir.open(tmp_path, Disk())) as mine:
        other = opener(tmp_path)
        assert line(other) == "ready"
        go(other)
        store, name = line(other).split()
        assert store == mine.store.hex()
        assert mine.is_alive(name)
        assert mine.is_alive(mine.process.name)
        other.kill()
        other.communicate()
        assert not mine.is_alive(name)
        assert not mine.is_alive("0" * 32)


def test_files_of_dead_processes_are_removed_at_a_start(tmp_path: Path) -> None:
    DataDir.open(tmp_path, Disk()).close()
    dead = LockFile(tmp_path / "processes", "serve")
    os.close(dead._fd)
    with closing(DataDir.open(tmp_path, Disk())) as data:
        assert [path.name for path in (tmp_path / "processes").iterdir()] == [data.process.name]


def test_two_processes_that_start_at_once_make_one_store(tmp_path: Path) -> None:
    for attempt in range(3):
        root = tmp_path / str(attempt)
        others = [opener(root) for _ in range(3)]
        assert [line(other) for other in others] == ["ready"] * 3
        for other in others:
            go(other)
        said = [line(other) for other in others]
        errors = [other.communicate()[1] for other in others]
        assert all(said), errors
        assert len({answer.split()[0] for answer in said}) == 1


def test_a_tree_that_takes_long_to_make_is_not_taken_for_one_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = itertools.count(step=60)
    monkeypatch.setattr(clock, "monotonic", lambda: float(next(minutes)))
    DataDir.open(tmp_path / "data", Disk()).close()


def test_a_start_that_was_cut_off_is_finished_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"")
    (tmp_path / "packs").mkdir()
    (tmp_path / ".format-0123").write_bytes(b"half")
    with closing(DataDir.open(tmp_path, Disk())) as data:
        assert all(data.folder(name).is_dir() for name in FOLDERS)


def test_a_directory_with_strange_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("mine")
    with pytest.raises(
        DataRefused, match=r"is not empty and holds no Drystone data .*'letters'.* choose an empty or new"
    ):
        DataDir.open(tmp_path, Disk())
    assert {path.name for path in tmp_path.iterdir()} <= {"letters", "lock"}


def test_a_fresh_file_system_with_its_lost_and_found_is_as_good_as_empty(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    DataDir.open(tmp_path, Disk()).close()
    DataDir.open(tmp_path, Disk()).close()


def test_a_directory_that_an_offline_verb_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_dir, "PATIENCE", 0.2)
    DataDir.open(tmp_path, Disk()).close()
    fd = os.open(tmp_path / "lock", os.O_RDWR)
    assert try_lock(fd)
    with pytest.raises(DataRefused, match=r"is in use by another process .*wait until it has finished, or stop it"):
        DataDir.open(tmp_path, Disk())
    os.close(fd)
    DataDir.open(tmp_path, Disk()).close()


def test_nobody_gets_it_exclusively_while_it_is_open(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    with closing(DataDir.open(tmp_path, Disk())):
        assert not try_lock(fd)
    assert try_lock(fd)
    os.close(fd)


@pytest.mark.parametrize("bits", [Features(incompat=2), Features(ro_compat=2)])
def test_a_newer_format_is_refused_with_a_sentence(tmp_path: Path, bits: Features) -> None:
    DataDir.open(tmp_path, Disk()).close()
    (tmp_path / "format").write_bytes(encode_format(STORE, bits))
    with pytest.raises(DataRefused, match=r"written in a newer format \(bits 0x[12] .*run a newer Drystone on it"):
        DataDir.open(tmp_path, Disk())
    (tmp_path / "format").write_bytes(encode_format(STORE))
    with closing(DataDir.open(tmp_path, Disk())) as data:
        assert data.store == STORE


def test_compat_bits_are_no_reason_to_refuse(tmp_path: Path) -> None:
    DataDir.open(tmp_path, Disk()).close()
    (tmp_path / "format").write_bytes(encode_format(STORE, Features(compat=0xFFFFFFFF)))
    DataDir.open(tmp_path, Disk()).close()


def test_a_damaged_format_file_is_damaged_and_named(tmp_path: Path) -> None:
    DataDir.open(tmp_path, Disk()).close()
    whole = encode_format(STORE)
    assert len(whole) == FORMAT_SIZE
    flipped = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(FORMAT_SIZE)]
    other = b"NOTSTONE" + whole[8:-8]
    summed = other + xxh3(other).to_bytes(8, "little")
    for bad in [b"", whole[:-1], whole + b"\0", summed, *flipped]:
        with pytest.raises(Damaged, match=f"{tmp_path}/format"):
            decode_format(bad, str(tmp_path / "format"))
    (tmp_path / "format").write_bytes(flipped[20])
    with pytest.raises(Damaged):
        DataDir.open(tmp_path, Disk())


def test_a_refused_directory_can_be_opened_once_the_reason_is_gone(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("mine")
    with pytest.raises(DataRefused):
        DataDir.open(tmp_path, Disk())
    (tmp_path / "letters").unlink()
    DataDir.open(tmp_path, Disk()).close()


def test_a_file_in_the_place_of_the_directory_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StoreUnavailable, match="data"):
        DataDir.open(tmp_path / "data", Disk())


@pytest.mark.parametrize("folder", ["processes", "leases"])
def test_a_missing_folder_is_an_error_of_the_store(tmp_path: Path, folder: str) -> None:
    DataDir.open(tmp_path, Disk()).close()
    (tmp_path / folder).rmdir()
    with pytest.raises(BlockstoreError, match=folder), closing(DataDir.open(tmp_path, Disk())) as data:
        LockFile(data.folder(folder), "a lease")


@pytest.mark.parametrize(
    ("path", "mounts", "kind"),
    [
        ("/srv/data", [LOCAL], ""),
        ("/srv/data", [LOCAL, "40 22 0:40 / /srv rw - nfs4 server:/x rw"], "nfs4"),
        ("/srv", [LOCAL, "40 22 0:40 / /srv rw - nfs server:/x rw"], "nfs"),
        ("/srv/data", [LOCAL, "40 22 0:40 / /srv rw shared:1 - fuse.sshfs me@there:/ rw"], "fuse.sshfs"),
        ("/srv/data", [LOCAL, "40 22 0:40 / /srv rw - cifs //server/x rw"], "cifs"),
        ("/srv/data", [LOCAL, "40 22 0:40 / /srv rw - fuseblk /dev/sdb1 rw"], ""),
        ("/srv/data", [LOCAL, "40 22 0:40 / /srv/database rw - nfs4 server:/x rw"], ""),
        # A local disk below a network mount, and the other way round: the nearest mount counts.
        ("/srv/data/x", ["40 22 0:40 / /srv rw - nfs4 s:/x rw", LOCAL, "41 40 8:1 / /srv/data rw - xfs /dev/b rw"], ""),
        ("/srv/data/x", [LOCAL, "41 22 8:1 / /srv rw - xfs /dev/b rw", "42 41 0:40 / /srv/data rw - 9p d rw"], "9p"),
        # Mounted twice at one place: the later one is on top.
        ("/srv/data", [LOCAL, "41 22 0:40 / /srv rw - nfs4 s:/x rw", "42 41 8:1 / /srv rw - ext4 /dev/b rw"], ""),
        # The whole system from a server.
        ("/srv/data", ["22 1 0:40 / / rw - nfs4 server:/root rw"], "nfs4"),
        ("/srv/my data/x", [LOCAL, r"40 22 0:40 / /srv/my\040data rw - nfs4 server:/x rw"], "nfs4"),
        ("/srv/a\tb\\c", [LOCAL, r"40 22 0:40 / /srv/a\011b\134c rw - nfs4 server:/x rw"], "nfs4"),
        ("/srv/Größe", [LOCAL, "40 22 0:40 / /srv/Größe rw - nfs4 server:/x rw"], "nfs4"),
    ],
)
def test_a_network_file_system_is_known_by_the_nearest_mount(path: str, mounts: list[str], kind: str) -> None:
    assert network_file_system(Path(path), mounts) == kind


def test_this_machines_own_mounts_can_be_read(tmp_path: Path) -> None:
    with Path("/proc/self/mountinfo").open(encoding="utf-8") as mounts:
        assert network_file_system(Path("/proc"), mounts) == ""


def test_a_bit_is_added_to_the_format_file_and_those_that_are_there_stay(tmp_path: Path) -> None:
    with closing(DataDir.open(tmp_path, Disk())) as data:
        (tmp_path / "format").write_bytes(encode_format(data.store, Features(compat=4)))
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(data.announce, [CONTENT_DEFINED] * 8))
        marked = encode_format(data.store, Features(compat=4, incompat=CONTENT_DEFINED))
        assert (tmp_path / "format").read_bytes() == marked
        before = (tmp_path / "format").stat().st_ino
        data.announce(CONTENT_DEFINED)
        assert (tmp_path / "format").stat().st_ino == before, "a bit that is set is not written again"
    assert not list(tmp_path.glob(".format-*"))


def test_what_is_not_there_is_not_made_for_the_host_verbs(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="there is no Drystone data in"):
        DataDir.open_made(tmp_path / "none", Disk(), purpose="stats", exclusive=False)
    assert not (tmp_path / "none").exists()


def test_a_host_verb_stands_beside_others_or_alone(tmp_path: Path) -> None:
    DataDir.open(tmp_path, Disk()).close()
    one = DataDir.open_made(tmp_path, Disk(), purpose="stats", exclusive=False)
    two = DataDir.open(tmp_path, Disk())
    with pytest.raises(DataRefused, match=r"in use by another process \(\d+ \w+; \d+ \w+\)"):
        DataDir.open_made(tmp_path, Disk(), purpose="gc", exclusive=True)
    one.close()
    two.close()
    alone = DataDir.open_made(tmp_path, Disk(), purpose="gc", exclusive=True)
    with pytest.raises(DataRefused, match=r"in use by another process \(\d+ gc\)"):
        DataDir.open_made(tmp_path, Disk(), purpose="gc", exclusive=True)
    alone.close()
