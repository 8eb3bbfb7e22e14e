"""Each command gets its own answer; QEMU's monitor is played."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from httpapi.client.vm import qmp
from httpapi.client.vm.machine import MachineRefused
from httpapi.client.vm.qmp import CommandRefused, Qmp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class PlayedMonitor:
    """Returns each command's own name, after `late` seconds for one of that name; one that is `refused` fails."""

    def __init__(self, path: Path) -> None:
        self.late: dict[str, float] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()
        self._thread.join()

    def _answer(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b'{"QMP": {"version": {"qemu": {"major": 7}}}}\n')
            for line in lines:
                asked = json.loads(line)
                time.sleep(self.late.get(asked["execute"], 0))
                failed = asked["execute"] == "refused"
                answer = {"error": {"class": "GenericError", "desc": "no"}} if failed else {"return": asked["execute"]}
                for each in ({"event": "STOP"}, answer | {"id": asked["id"]}):
                    connection.sendall(json.dumps(each).encode() + b"\n")


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[tuple[PlayedMonitor, Qmp]]:
    played = PlayedMonitor(tmp_path / "qmp")
    asking = Qmp(str(tmp_path / "qmp"))
    yield played, asking
    asking.close()
    played.close()


@pytest.mark.parametrize("slow", ["query-jobs", "refused"])
def test_an_answer_that_comes_too_late_is_not_the_next_commands(
    monitor: tuple[PlayedMonitor, Qmp], monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    played, asking = monitor
    monkeypatch.setattr(qmp, "_SECONDS", 0.1)
    played.late[slow] = 0.5
    with pytest.raises(MachineRefused, match=f"has not answered {slow}"):
        asking.ask(slow)
    monkeypatch.setattr(qmp, "_SECONDS", 10.0)
    assert asking.ask("nbd-server-stop") == "nbd-server-stop"
    with pytest.raises(CommandRefused, match="refuses refused: no"):
        asking.ask("refused")
