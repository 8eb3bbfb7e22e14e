"""Verbs called in this process: against a running server, or a small one that can be told to misbehave."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from httpapi.cli.root import run
from tests.kit.disk_room import disk_room
from tests.kit.small_server import SmallServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.kit.running_server import RunningServer

    Drystone = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What verbs remember is each test's own, never the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def heeded_sighup() -> Iterator[None]:
    """Also where the tests themselves were started by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def small() -> Iterator[SmallServer]:
    with SmallServer() as running:
        yield running


@pytest.fixture
def drystone(server: RunningServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Drystone:
    """A verb against `server`; its code, and what it printed on standard output and error."""
    monkeypatch.setenv("DRYSTONE_ENDPOINT", f"http://127.0.0.1:{server.port}")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """On a disk: of files in memory a client remembers nothing."""
    with disk_room() as directory:
        yield directory
