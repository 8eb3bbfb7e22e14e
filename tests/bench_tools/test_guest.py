from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from bench import ext4, guest_boot, tools
from bench.guest import Guest, content, content_sha256, qcow2, raw
from bench.guest_console import Console, GuestFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Path]:
    """A guest's line whose every command is answered by itself and exit code 3, in small pieces; `end` ends it."""
    path = tmp_path / "line"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def obey() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(b"half of an earlier answer\n\004")
                for each in lines:
                    number, _, command = each.strip().partition(b" ")
                    if command == b"end":
                        return
                    answer = command + b"\n\004" + number + (b" 0\n" if command == b"true" else b" 3\n")
                    for at in range(len(answer)):
                        connection.sendall(answer[at : at + 1])

        guest = threading.Thread(target=obey)
        guest.start()
        yield path
        guest.join()


def test_what_a_command_says_is_told_apart_from_what_came_before(line: Path) -> None:
    console = Console(line)
    console.wait()
    assert console.run("true") == "true"
    with pytest.raises(GuestFailed, match="exit code 3: ls"):
        console.run("ls")
    with pytest.raises(GuestFailed, match="ended during: end"):
        console.run("end")
    with pytest.raises(ValueError, match="one line"):
        console.run("two\nlines")
    console.close()


def test_a_machine_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(GuestFailed, match="does not obey"):
        Console(tmp_path / "line").wait(is_alive=lambda: False)


def test_the_bytes_of_a_seed_are_its_own_and_no_two_blocks_of_them_are_alike() -> None:
    written = content(1, 3_000_000) + content(2, 3_000_000)
    blocks = [written[at : at + 4096] for at in range(0, len(written), 4096)]
    assert len(set(blocks)) == len(blocks)
    assert content(3, 1000)[:50] == content(3, 50)


@pytest.mark.long
@pytest.mark.serial
def test_a_guest_boots_from_its_disk_writes_and_what_was_synced_outlives_its_power(tmp_path: Path) -> None:
    tree, root, second = tmp_path / "tree", tmp_path / "root.raw", tmp_path / "second.qcow2"
    guest_boot.fill_root(tree)
    ext4.make(root, tree, 16 << 20, files=8)
    tools.run("qemu-img", "create", "-q", "-f", "qcow2", str(second), "8M")
    with Guest([raw(root), qcow2(second)], root="/dev/vda") as guest:
        assert guest.run("grep ' / ext4 ' /proc/mounts").startswith("/dev/vda")
        guest.write_file("/mnt/one", 1_000_001, seed=7)
        assert guest.sha256("/mnt/one") == content_sha256(7, 1_000_001)
        guest.write_at("/dev/vdb", 70_000, 200_000, seed=8)
        assert [each["qdev"] for each in guest.ask("query-block") if each["inserted"]["node-name"] == "disk1"]
        guest.run("sync")
        guest.kill()
        assert not guest.pid
        guest.start()
        guest.forget_cache()
        assert guest.sha256("/mnt/one") == content_sha256(7, 1_000_001)
        guest.power_off()
    plain = tmp_path / "second.raw"
    tools.run("qemu-img", "convert", "-O", "raw", str(second), str(plain))
    assert plain.read_bytes()[70_000:270_000] == content(8, 200_000)
