from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from httpapi.client.errors import ProgramMissing
from httpapi.client.programs import BoundProgram, find_program

PLAYS_A_CALLER = """
import subprocess, sys, time
from httpapi.client.programs import BoundProgram
program = BoundProgram(["/bin/sleep", "60"])
print(program._process.pid, flush=True)
time.sleep(60)
"""


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_is_missing_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing, match=r"qemu-nbd is not installed: `apt install qemu-utils` \(Debian, Ubuntu\)"):
        find_program("qemu-nbd")
    with pytest.raises(ProgramMissing, match=r"brings it, and --as-is keeps the file as it is$"):
        find_program("qemu-nbd", "and --as-is keeps the file as it is")


def test_a_program_ends_with_a_caller_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PLAYS_A_CALLER], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        assert is_there(pid)
        caller.kill()
    until = time.monotonic() + 10
    while is_there(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_there(pid)


def test_a_program_is_ended_or_waited_for_and_tells_its_exit_code() -> None:
    read, write = os.pipe()
    with BoundProgram(["/bin/echo", "a  b", "$HOME"], stdout=write) as program:
        assert program.wait(10) == 0
    os.close(write)
    assert os.read(read, 100) == b"a  b $HOME\n"
    os.close(read)
    program = BoundProgram(["/bin/sleep", "60"])
    assert program.wait(0.05) is None
    assert program.end() == -9
    assert program.end() == -9
