"""`drystone` in processes forked from one that has loaded it all: a start takes milliseconds, not a second.

For tests that start it again and again; those of how it starts run it as a user does. The process that forks is this
module as a program; it is told what to start over a socket, with the streams that the new process is to have.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
_MESSAGE: Final = 1 << 17
_LOADED: Final = ("chunker", "blockstore", "catalog", "httpapi", "sqlalchemy.dialects.sqlite")


class ForkedProcess:
    """One that runs: what a test asks of a `subprocess.Popen`. What it prints is kept in files, or goes to `stdout`."""

    def __init__(self, status: IO[bytes], out: IO[bytes] | None, err: IO[bytes]) -> None:
        self._status = status
        self._out = out
        self._err = err
        self.pid = int(status.readline())
        self._process = os.pidfd_open(self.pid)
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._process, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("drystone", timeout or 0)
            self.returncode = int(self._status.readline())
            self._status.close()
            os.close(self._process)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Wait for its end; what it printed, and what on standard error."""
        self.wait(timeout)
        return _all_of(self._out) if self._out else b"", _all_of(self._err)


class ForkedPrograms:
    """The process that has loaded everything, from entering to leaving."""

    def __enter__(self) -> Self:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.kit.forked_program", str(theirs.fileno())]
            self._server = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._server.wait(30)

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        given: bytes = b"",
        stdout: IO[bytes] | None = None,
    ) -> ForkedProcess:
        """`drystone ARGUMENTS` in this environment, else in ours, with what is given on its standard input."""
        wanted = {"arguments": list(arguments), "environment": dict(environment or os.environ)}
        out, err = None if stdout else tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - read later
        heard, status = os.pipe()
        with _input(given) as stdin, os.fdopen(status, "wb") as told:
            streams = [stdin, stdout or out, err, told]
            sent = json.dumps(wanted).encode()
            socket.send_fds(self._control, [sent], [stream.fileno() for stream in streams if stream])
        return ForkedProcess(os.fdopen(heard, "rb", buffering=0), out, err)


@contextlib.contextmanager
def _input(given: bytes) -> Iterator[IO[bytes]]:
    """A pipe with these bytes, however many: a file would tell its size."""
    heard, told = os.pipe()
    writer = threading.Thread(target=_give, args=(os.fdopen(told, "wb"), given))
    writer.start()
    with os.fdopen(heard, "rb") as stdin:
        yield stdin


def _give(pipe: IO[bytes], given: bytes) -> None:
    # Nobody has to read all of it.
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(given)


def _all_of(file: IO[bytes]) -> bytes:
    with file:
        file.seek(0)
        return file.read()


def _load() -> None:
    for name in _LOADED:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__") and "migrations" not in module.name:
                importlib.import_module(module.name)
    # What is there now is never looked through again, so that its pages stay shared.
    gc.freeze()


def _fork_as_told(control: socket.socket) -> list[str] | None:
    """Fork for each message; in each new process this returns the arguments it is to have, None when nobody asks."""
    with control, selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    selector.unregister(key.fileobj)
                    _tell_end(key.fd, *key.data)
                    continue
                sent, streams, _, _ = socket.recv_fds(control, _MESSAGE, 4)
                if not sent:
                    return None
                pid = os.fork()
                if not pid:
                    return _become(json.loads(sent), streams)
                *others, status = streams
                for stream in others:
                    os.close(stream)
                os.write(status, b"%d\n" % pid)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def _tell_end(process: int, pid: int, status: int) -> None:
    os.close(process)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    # Nobody may be waiting for it any more.
    with contextlib.suppress(BrokenPipeError):
        os.write(status, b"%d\n" % code)
    os.close(status)


def _become(wanted: dict[str, Any], streams: list[int]) -> list[str]:
    *standard, status = streams
    for number, stream in enumerate(standard):
        os.dup2(stream, number)
        os.close(stream)
    os.close(status)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(at, mode, closefd=False) for at, mode in enumerate(("r", "w", "w")))
    os.environ.clear()
    os.environ.update(wanted["environment"])
    return list(wanted["arguments"])


def _run(arguments: list[str]) -> NoReturn:
    from httpapi.cli.root import main

    sys.argv = ["drystone", *arguments]
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    # As Python ends, but for taking apart all that was loaded.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    _load()
    told = _fork_as_told(socket.socket(fileno=int(sys.argv[1])))
    if told is not None:
        _run(told)
