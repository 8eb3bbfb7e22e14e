from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

from httpapi.client.block_file import BlockFile, open_block_file
from httpapi.client.open_files import writer_of

if TYPE_CHECKING:
    from pathlib import Path


def file_in(tmp_path: Path) -> BlockFile:
    (tmp_path / "disk").write_bytes(b"some bytes")
    return open_block_file(str(tmp_path / "disk"))


def test_a_file_that_nobody_writes_has_no_writer(tmp_path: Path) -> None:
    assert writer_of(file_in(tmp_path)) is None


def test_the_lock_that_qemu_takes_to_write_is_seen(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    other = os.open(file.name, os.O_RDWR)
    lock = struct.Struct("hhqqi4x")
    fcntl.fcntl(other, fcntl.F_OFD_SETLK, lock.pack(fcntl.F_RDLCK, os.SEEK_SET, 100, 1, 0))
    assert writer_of(file) is None, "it only reads"
    fcntl.fcntl(other, fcntl.F_OFD_SETLK, lock.pack(fcntl.F_RDLCK, os.SEEK_SET, 101, 1, 0))
    assert writer_of(file) == "a QEMU"
    os.close(other)
    assert writer_of(file) is None


def test_a_process_of_that_name_with_the_file_open_to_write_is_seen(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    program = (
        "import sys; open('/proc/self/comm', 'w').write('qemu-system-x86'); "
        "kept = open(sys.argv[1], sys.argv[2]); print('ready', flush=True); sys.stdin.read()"
    )
    for mode, seen in (("rb", False), ("r+b", True)):
        process = subprocess.Popen(
            [sys.executable, "-c", program, file.name, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline()
        found = writer_of(file)
        process.communicate()
        assert found == (f"process {process.pid} (qemu-system-x86)" if seen else None)
