"""push, pull and diff of versions of a disk, each verb and the server a process of its own, the wire counted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.counting_proxy import CountingProxy
from tests.kit.changing_disk import BLOCK, ChangingDisk
from tests.kit.nbd_server import NbdServer
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.forked_program import ForkedProcess, ForkedPrograms

MIB = 1 << 20


class Session:
    """A server on a data directory behind a proxy, and a disk that is pushed to it."""

    def __init__(self, tmp_path: Path, data: Path, programs: ForkedPrograms) -> None:
        self.tmp_path = tmp_path
        self.data = data
        self.programs = programs
        self.path = os.environ["PATH"]
        self.disk = ChangingDisk(tmp_path / "disk.raw", 8 * MIB + 1234, random.Random(4))
        self.server = ServeProcess(data, programs)
        self.server.__enter__()
        self.wire = CountingProxy(self.server.port)
        self.wire.__enter__()

    def close(self) -> None:
        self.wire.__exit__(None, None, None)
        self.server.__exit__(None, None, None)

    def start(self, *arguments: str, url: str = "") -> ForkedProcess:
        return self.programs.start(
            ["--endpoint", url or self.wire.url, *arguments],
            os.environ | {"XDG_STATE_HOME": str(self.tmp_path / "state"), "PATH": self.path},
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err.decode()
        return out.decode(), err.decode()

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json")[0])

    def push(self, *arguments: str) -> Any:
        return self.json("push", str(self.disk.path), "--name", "vm", *arguments)

    def push_much_slowly(self) -> ForkedProcess:
        """Begin to push 20 MiB that are new, at 20 MiB a second."""
        self.disk.resize(40 * MIB)
        self.disk.write(10 * MIB, os.urandom(20 * MIB))
        self.wire.taken()
        self.wire.rate = 20 * MIB
        return self.start("push", str(self.disk.path), "--name", "vm")

    def is_right(self, image: str) -> None:
        out, err = self.start("pull", image, "-", url=f"http://127.0.0.1:{self.server.port}").communicate(timeout=60)
        assert out == bytes(self.disk.held), err.decode()

    def restart(self) -> None:
        """kill -9 of the server, and a new one on the same data."""
        self.server.__exit__(None, None, None)
        self.wire.cut()
        self.server = ServeProcess(self.data, self.programs)
        self.server.__enter__()
        self.wire.target = self.server.port


@pytest.fixture
def session(tmp_path: Path, data_root: Path, programs: ForkedPrograms) -> Iterator[Session]:
    session = Session(tmp_path, data_root, programs)
    yield session
    session.close()


def test_the_second_push_of_a_name_sends_what_changed_and_says_so(session: Session) -> None:
    first = session.push()
    assert (first["parent"], first["sent"]) == (None, first["size"])
    session.disk.write(2 * MIB, os.urandom(BLOCK))
    session.wire.taken()
    out, err = session.run("push", str(session.disk.path), "--name", "vm")
    assert session.wire.taken()[0] < BLOCK + 10_000
    assert "only what differs from vm of" in err
    assert first["id"] in err
    session.is_right(out.strip())
    assert session.push("--parent", "none")["parent"] is None
    assert session.push("--parent", first["id"])["parent"] == first["id"]


def test_of_two_images_of_one_second_a_name_means_the_newer(session: Session) -> None:
    for _ in range(4):
        newest = session.push()["id"]
        assert session.json("show", "vm")["id"] == newest


def test_an_unchanged_file_sends_and_reads_next_to_nothing(session: Session) -> None:
    time.sleep(2.1)
    session.push()
    session.push()
    began = time.monotonic()
    session.wire.taken()
    done = session.push()
    seconds = time.monotonic() - began
    assert session.wire.taken()[0] < 20_000
    assert (done["sent"], done["unchanged"], done["verified"]) == (0, done["size"], True)
    assert seconds < 5
    session.is_right(done["id"])


@pytest.mark.parametrize("part", [0.2, 0.7])
def test_a_push_whose_client_is_killed_goes_on(session: Session, part: float) -> None:
    session.push()
    process = session.push_much_slowly()
    session.wire.wait_for(up=int(20 * MIB * part))
    process.kill()
    process.communicate()
    session.wire.rate = None
    out, err = session.run("push", str(session.disk.path), "--name", "vm")
    assert "going on with image" in err
    # What was under way when it died is sent twice: at most four requests.
    assert session.wire.taken()[0] < 20 * MIB * 1.02 + 4 * 4 * MIB
    session.is_right(out.strip())
    assert session.run("ls", "-q")[0].count("\n") == 2


def test_an_interrupted_push_says_how_to_go_on(session: Session) -> None:
    session.push()
    session.disk.write(2 * MIB, os.urandom(5 * MIB))
    session.wire.taken()
    session.wire.rate = 4 * MIB
    process = session.start("push", str(session.disk.path), "--name", "vm")
    session.wire.wait_for(up=MIB)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"the same command goes on where this one stopped" in err
    session.wire.rate = None
    session.is_right(session.push()["id"])


def test_a_push_whose_server_is_killed_waits_for_the_next_one(session: Session) -> None:
    session.push()
    process = session.push_much_slowly()
    session.wire.wait_for(up=8 * MIB)
    session.restart()
    session.wire.rate = None
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    assert b"trying again" in err
    assert session.wire.taken()[0] < 20 * MIB * 1.02 + 4 * 4 * MIB
    session.is_right(out.decode().strip())


def test_a_pull_onto_the_previous_version_fetches_what_differs_and_goes_on_when_killed(session: Session) -> None:
    copy = session.tmp_path / "copy.raw"
    session.run("pull", session.push()["id"], str(copy))
    old = bytes(session.disk.held)
    session.disk.resize(30 * MIB)
    session.disk.write(2 * MIB, os.urandom(20 * MIB))
    new = session.push()["id"]
    session.wire.taken()
    session.wire.rate = 20 * MIB
    process = session.start("pull", new, str(copy), "--force")
    session.wire.wait_for(down=12 * MIB)
    process.kill()
    process.communicate()
    assert copy.read_bytes() == old
    session.wire.rate = None
    done = session.json("pull", new, str(copy), "--force")
    assert copy.read_bytes() == bytes(session.disk.held)
    assert session.wire.taken()[1] < 20 * MIB * 1.02 + 4 * 8 * MIB
    assert done["unchanged"] > 10 * MIB
    assert [path.name for path in session.tmp_path.iterdir() if "part" in path.name] == []


def test_an_image_without_hashes_is_proved_by_its_blocks(session: Session) -> None:
    session.push()
    session.disk.write(2 * MIB, os.urandom(BLOCK))
    image = session.push()["id"]
    done = session.json("pull", image, str(session.tmp_path / "new.raw"))
    assert done["verified"]
    assert (session.tmp_path / "new.raw").read_bytes() == bytes(session.disk.held)


def test_diff_tells_the_same_of_images_and_files(session: Session) -> None:
    session.disk.resize(8 * MIB)
    first = session.push()["id"]
    old = session.tmp_path / "old.raw"
    old.write_bytes(bytes(session.disk.held))
    session.disk.write(BLOCK * 40 + 5, b"new")
    session.disk.write(BLOCK * 50, bytes(2 * BLOCK))
    session.disk.resize(9 * MIB)
    second = session.push()["id"]
    expected: Any = None
    for a in (first, str(old)):
        for b in (second, str(session.disk.path)):
            found = session.json("diff", a, b)
            told = (found["changed"], found["zeros"], found["extents"])
            expected = expected or told
            assert told == expected
    assert {"offset": 40 * BLOCK, "length": BLOCK, "zero": False} in expected[2]
    assert {"offset": 50 * BLOCK, "length": 2 * BLOCK, "zero": True} in expected[2]
    assert session.json("diff", second, str(session.disk.path))["changed"] == 0
    assert session.run("diff", str(old), str(old))[0] == ""


def test_changed_extents_are_read_and_bad_ones_refused(session: Session) -> None:
    session.push()
    listed = session.tmp_path / "map.json"
    session.disk.write(2 * MIB, os.urandom(BLOCK))
    listed.write_text(
        json.dumps(
            [
                {"start": 0, "length": 2 * MIB, "depth": 1, "present": True, "zero": False, "data": True},
                {"start": 2 * MIB, "length": BLOCK, "depth": 0, "present": True, "zero": False, "data": True},
                {"start": 2 * MIB + BLOCK, "length": len(session.disk.held), "depth": 1, "present": True},
            ]
        )
    )
    session.is_right(session.push("--changed-extents", str(listed))["id"])
    session.disk.write(4 * MIB, os.urandom(10))
    listed.write_text(
        json.dumps(
            [
                {"offset": 0, "length": 4 * MIB, "type": 0, "description": "clean"},
                {"offset": 4 * MIB, "length": BLOCK, "type": 1, "description": "dirty"},
                {"offset": 4 * MIB + BLOCK, "length": len(session.disk.held), "type": 0, "description": "clean"},
            ]
        )
    )
    session.is_right(session.push("--changed-extents", str(listed))["id"])
    short = json.dumps([{"offset": 0, "length": BLOCK, "type": 1, "description": "dirty"}])
    for text, told in (("[1]", "extent that is none"), ("[]", "is an empty list"), (short, "ends at byte 65536")):
        listed.write_text(text)
        bad = ("push", str(session.disk.path), "--name", "vm", "--changed-extents", str(listed))
        assert told in session.run(*bad, code=1)[1]


def test_an_export_is_pushed_by_its_bitmap(session: Session) -> None:
    program = session.tmp_path / "bin" / "nbdinfo"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat {session.tmp_path}/map.json\n")
    program.chmod(0o755)
    session.push()
    session.disk.write(2 * MIB + 5, os.urandom(BLOCK))
    rows = [
        {"offset": 0, "length": 2 * MIB, "type": 0, "description": "clean"},
        {"offset": 2 * MIB, "length": 2 * BLOCK, "type": 1, "description": "dirty"},
        {"offset": 2 * MIB + 2 * BLOCK, "length": len(session.disk.held), "type": 0, "description": "clean"},
    ]
    (session.tmp_path / "map.json").write_text(json.dumps(rows))
    with NbdServer(session.tmp_path / "socket", session.disk.held) as server:
        session.path = f"{program.parent}:{os.environ['PATH']}"
        done = session.json("push", "--nbd", server.uri, "--bitmap", "b0", "--name", "vm")
        assert server.read == 2 * BLOCK
        session.is_right(done["id"])
        alone = ("push", "--nbd", server.uri, "--bitmap", "b0", "--name", "whole")
        assert "name it with --parent, or push all of it first" in session.run(*alone, code=1)[1]
        session.is_right(session.json("push", "--nbd", server.uri, "--name", "whole")["id"])
    assert session.run("push", "--nbd", server.uri, code=2)[1]


def test_twenty_versions_are_all_right(session: Session) -> None:
    ids = []
    kept = []
    for _ in range(20):
        ids.append(session.push()["id"])
        kept.append(bytes(session.disk.held))
        if len(ids) > 3:
            victim = session.disk.random.randrange(len(ids) - 1)
            session.run("rm", "--yes", ids.pop(victim))
            del kept[victim]
        session.disk.edit()
    for image, data in zip(ids, kept, strict=True):
        session.disk.held = bytearray(data)
        session.is_right(image)


@contextmanager
def loop_device(path: Path) -> Iterator[str]:
    """A device over the file, as root; the test is skipped where none can be made."""
    command = ["losetup", "--show", "--find", str(path)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip("no loop device can be made here")
    device = made.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.serial
def test_a_block_device_is_read_each_time_and_written_where_it_differs(session: Session) -> None:
    session.disk.resize(8 * MIB)
    with loop_device(session.disk.path) as device:
        assert session.json("push", device, "--name", "dev")["size"] == 8 * MIB
        data = os.urandom(BLOCK)
        with Path(device).open("r+b") as file:
            file.seek(3 * MIB)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        session.disk.held[3 * MIB : 3 * MIB + BLOCK] = data
        session.wire.taken()
        done = session.json("push", device, "--name", "dev")
        assert BLOCK < session.wire.taken()[0] < BLOCK + 10_000
        session.is_right(done["id"])
        with Path(device).open("r+b") as file:
            file.seek(5 * MIB)
            file.write(os.urandom(100))
            os.fsync(file.fileno())
        session.wire.taken()
        session.run("pull", done["id"], device, "--force")
        assert session.wire.taken()[1] < BLOCK + 20_000
        assert Path(device).read_bytes() == bytes(session.disk.held)


@pytest.mark.serial
def test_what_changes_below_a_device_that_is_held_open_is_noticed(session: Session) -> None:
    session.disk.resize(8 * MIB)
    # Whoever has it open keeps what the kernel has read of it in memory, as a mounted file system does.
    with loop_device(session.disk.path) as device, Path(device).open("rb"):
        session.json("push", device, "--name", "dev")
        session.disk.write(3 * MIB + 5, b"changed below")
        done = session.json("push", device, "--name", "dev")
        assert done["unchanged"] == 8 * MIB - BLOCK
        session.is_right(done["id"])
        assert session.json("diff", done["id"], device)["changed"] == 0
