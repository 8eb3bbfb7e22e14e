"""The program as a process: start, signals, terminals, pipes."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from httpapi.cli.endpoint import (
    CACERT_VARIABLES,
    ENDPOINT_VARIABLES,
    INSECURE_VARIABLE,
    LOGIN_VARIABLES,
    OTHER_VARIABLES,
    PROJECT_VARIABLES,
    USUAL_ENDPOINT,
)
from httpapi.cli.root import FAILURE, INTERRUPTED, OK, USAGE, VERBS
from tests.kit.image_service import image_service

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kit.small_server import SmallServer

PROGRAM = (sys.executable, "-c", "from httpapi.cli.root import main; main()")
ROOT = Path(__file__).parents[3]


def start(
    *arguments: str, endpoint: str = "", cwd: Path | None = None, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DRYSTONE_ENDPOINT": endpoint, "COLUMNS": "100"},
        cwd=cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def start_on(terminal: int, *arguments: str, endpoint: str, cwd: Path) -> subprocess.Popen[bytes]:
    """With this terminal on all three standard streams; it is closed here."""
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DRYSTONE_ENDPOINT": endpoint, "COLUMNS": "100", "TERM": "xterm"},
        cwd=cwd,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    return process


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("arguments", [(), *((verb,) for verb in VERBS if verb != "serve")])
def test_help_teaches_by_examples(arguments: tuple[str, ...]) -> None:
    code, out, err = finish(start(*arguments, "--help"))
    assert (code, err) == (0, "")
    assert "Examples:\n    drystone " in out


def test_help_names_exit_codes_and_environment() -> None:
    out = finish(start("--help"))[1]
    for each in ("130", "DRYSTONE_ENDPOINT", "DRYSTONE_PROJECT", *VERBS):
        assert each in out


def test_the_readme_names_every_verb_variable_and_exit_code() -> None:
    readme = (ROOT / "httpapi" / "cli" / "README.md").read_text()
    codes = [f"| {code} |" for code in (OK, FAILURE, USAGE, INTERRUPTED)]
    variables = (*ENDPOINT_VARIABLES, *PROJECT_VARIABLES, *LOGIN_VARIABLES, *CACERT_VARIABLES, *OTHER_VARIABLES)
    for each in (*VERBS, *variables, INSECURE_VARIABLE, USUAL_ENDPOINT, *codes):
        assert each in readme


def test_without_a_verb_it_shows_its_help() -> None:
    code, out, err = finish(start())
    assert (code, out) == (2, "")
    assert "Verbs:" in err


def test_version_and_help_load_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from httpapi.cli.root import run\n"
        "assert run(['--version']) == 0 and run(['--help']) == 0\n"
        "heavy = {'aiohttp', 'numpy', 'sqlalchemy', 'rich', 'lmdb', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("drystone")


@pytest.mark.parametrize("verb", ["gc", "scrub", "stats", "verify"])
def test_a_host_verb_loads_nothing_of_the_server(data_root: Path, verb: str) -> None:
    with image_service(data_root):
        pass
    program = (
        "import sys\n"
        "from httpapi.cli.root import run\n"
        f"assert run(['admin', {verb!r}, '--quiet', '--data', {str(data_root)!r}]) == 0\n"
        "heavy = {'aiohttp', 'httpapi.app', 'httpapi.bootstrap'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def wait_for(process: subprocess.Popen[bytes], happened: Callable[[], object]) -> None:
    """Until the process has come so far."""
    while not happened():
        assert process.poll() is None, process.communicate()
        select.select([], [], [], 0.02)


@pytest.mark.usefixtures("heeded_sighup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_pull_removes_its_part_and_says_so(small: SmallServer, tmp_path: Path, number: int) -> None:
    small.add("disk", bytes(5 << 20))
    small.faults.stall_downloads, small.faults.cut_after = True, 2 << 20
    process = start("pull", "disk", "copy", endpoint=small.url, cwd=tmp_path)
    wait_for(process, lambda: list(tmp_path.glob(".copy.*.drystone-part")))
    process.send_signal(number)
    code, out, err = finish(process)
    assert (code, out) == (130, "")
    assert err.split("\n") == [
        "drystone: the incomplete copy is removed",
        "",  # click's, after the ^C that a terminal shows
        "drystone: interrupted",
        "",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("heeded_sighup")
def test_a_terminal_that_is_closed_interrupts_too(small: SmallServer, tmp_path: Path) -> None:
    small.add("disk", bytes(5 << 20))
    small.faults.stall_downloads, small.faults.cut_after = True, 2 << 20
    terminal, process_end = pty.openpty()
    process = start_on(process_end, "pull", "disk", "copy", endpoint=small.url, cwd=tmp_path)
    wait_for(process, lambda: list(tmp_path.glob(".copy.*.drystone-part")))
    os.close(terminal)
    # Twice, as a shell and the kernel do.
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == INTERRUPTED
    assert list(tmp_path.iterdir()) == []


def test_sighup_stays_ignored_where_it_is(small: SmallServer, tmp_path: Path) -> None:
    small.add("disk", bytes(5 << 20))
    small.faults.stall_downloads, small.faults.cut_after = True, 2 << 20
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start("pull", "disk", "copy", endpoint=small.url, cwd=tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for(process, lambda: list(tmp_path.glob(".copy.*.drystone-part")))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 130


def test_an_interrupted_push_takes_its_image_back(small: SmallServer) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"some bytes, and then nothing")
    process = start("push", "-", "--name", "disk", endpoint=small.url, stdin=read_end)
    wait_for(process, lambda: any(path.endswith("/file") for _, path, _ in small.asked))
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    os.close(read_end)
    os.close(write_end)
    assert (code, out, err.strip()) == (130, "", "drystone: interrupted")
    assert small.images == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_push_interrupted_while_its_image_is_created_leaves_none(
    small: SmallServer, tmp_path: Path, number: int
) -> None:
    (tmp_path / "disk").write_bytes(b"0123456789")
    small.faults.stall_create = True
    process = start("push", "disk", endpoint=small.url, cwd=tmp_path)
    wait_for(process, lambda: small.images)
    process.send_signal(number)
    code, out, err = finish(process)
    assert (code, out, err.strip()) == (130, "", "drystone: interrupted")
    assert small.images == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("reader", ["none", "asleep"])
def test_a_pull_to_a_named_pipe_can_be_interrupted(
    small: SmallServer, tmp_path: Path, number: int, reader: str
) -> None:
    small.add("disk", bytes(5 << 20))
    os.mkfifo(tmp_path / "pipe")
    asleep = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK) if reader == "asleep" else None
    process = start("pull", "disk", "pipe", endpoint=small.url, cwd=tmp_path)
    # With a reader until its bytes are asked for, else until the record is read a second time.
    last = "/file" if asleep is not None else next(iter(small.images))
    wait_for(process, lambda: any(path.endswith(last) for _, path, _ in small.asked))
    process.send_signal(number)
    code, out, err = finish(process)
    assert (code, out) == (130, "")
    if asleep is not None:
        os.close(asleep)
        assert "what went to pipe is incomplete" in err
    else:
        # It may not have come to the pipe yet.
        assert "nothing was written to pipe" in err or err.strip() == "drystone: interrupted"


def test_a_pull_into_a_pipe_that_closes_ends_quietly(small: SmallServer) -> None:
    small.add("disk", bytes(20 << 20))
    process = start("pull", "disk", "-", endpoint=small.url)
    assert process.stdout is not None
    assert process.stdout.read(10) == bytes(10)
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        err = process.stderr.read().decode()
    assert process.wait(30) == 1
    assert "Traceback" not in err


def on_terminal(*arguments: str, endpoint: str, cwd: Path, answer: bytes = b"") -> tuple[int, str]:
    """Runs it with a terminal on all three standard streams; its exit code and what a person would see."""
    main_end, process_end = pty.openpty()
    process = start_on(process_end, *arguments, endpoint=endpoint, cwd=cwd)
    os.write(main_end, answer)
    seen = bytearray()
    while True:
        try:
            piece = os.read(main_end, 65536)
        except OSError:  # how a terminal says that the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(main_end)
    return process.wait(30), seen.decode()


def test_a_terminal_gets_tables_bars_and_summaries(small: SmallServer, tmp_path: Path) -> None:
    image_id = small.add("[bold]disk", bytes(3 << 20))
    code, seen = on_terminal("ls", endpoint=small.url, cwd=tmp_path)
    assert code == 0
    assert all(each in seen for each in ("NAME", image_id[:8], "[bold]disk", "3.0 MiB", "2026-11-22 00:00:01"))
    assert image_id not in seen
    code, seen = on_terminal("pull", "[bold]disk", "copy", endpoint=small.url, cwd=tmp_path)
    assert code == 0
    assert "Pulled [bold]disk: 3.0 MiB in" in seen
    assert "━" in seen
    code, seen = on_terminal("push", "copy", endpoint=small.url, cwd=tmp_path)
    assert code == 0
    assert "Pushed copy: 3.0 MiB in" in seen
    code, seen = on_terminal("show", "copy", endpoint=small.url, cwd=tmp_path)
    assert code == 0
    assert "os_hash_algo" in seen


def test_rm_asks_on_a_terminal(small: SmallServer, tmp_path: Path) -> None:
    image_id = small.add("disk")
    code, seen = on_terminal("rm", "disk", endpoint=small.url, cwd=tmp_path, answer=b"n\n")
    assert code == 1
    assert "drystone: nothing is deleted" in seen
    assert f"Delete {image_id[:8]} disk? [y/N]" in seen
    assert list(small.images) == [image_id]
    assert on_terminal("rm", "disk", endpoint=small.url, cwd=tmp_path, answer=b"y\n")[0] == 0
    assert small.images == {}


def test_an_image_is_never_written_to_a_terminal(small: SmallServer, tmp_path: Path) -> None:
    small.add("disk")
    code, seen = on_terminal("pull", "disk", "-", endpoint=small.url, cwd=tmp_path)
    assert code == 2
    assert "standard output is a terminal" in seen
