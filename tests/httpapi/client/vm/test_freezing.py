"""Who freezes a guest thaws it, whatever becomes of the backup; the guest agent is played."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from httpapi.client.vm import freezing
from httpapi.client.vm.freezing import held_still
from httpapi.client.vm.machine import MachineRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class PlayedAgent:
    """Answers as the guest agent does; `said` are the commands that it was given, `frozen` whether it is."""

    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        self.refuse = ""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._answer, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def waits_for(self, command: str, seconds: float = 10.0) -> bool:
        deadline = time.monotonic() + seconds
        while command not in self.said and time.monotonic() < deadline:
            time.sleep(0.01)
        return command in self.said

    def _answer(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                # What an earlier caller did not wait for.
                connection.sendall(b'{"return": 17}\n')
                for line in lines:
                    asked = json.loads(line.lstrip(b"\xff"))
                    self.said.append(asked["execute"])
                    answer: object = {"return": asked.get("arguments", {}).get("id", 2)}
                    if asked["execute"] == self.refuse:
                        answer = {"error": {"class": "GenericError", "desc": "no room"}}
                    connection.sendall(json.dumps(answer).encode() + b"\n")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "agent"


@pytest.fixture
def agent(place: Path) -> Iterator[PlayedAgent]:
    played = PlayedAgent(place)
    yield played
    played.close()


def test_file_systems_are_frozen_inside_and_thawed_after(agent: PlayedAgent, place: Path) -> None:
    with held_still(["agent", str(place)], wanted=None) as frozen:
        assert frozen == 2
        assert agent.said == ["guest-sync", "guest-fsfreeze-freeze"]
    assert agent.said[2:] == ["guest-sync", "guest-fsfreeze-thaw"]


def test_what_fails_inside_is_thawed_too(agent: PlayedAgent, place: Path) -> None:
    with pytest.raises(ZeroDivisionError), held_still(["agent", str(place)], wanted=True):
        raise ZeroDivisionError
    assert agent.said[-1] == "guest-fsfreeze-thaw"


def test_a_backup_that_is_killed_leaves_no_guest_frozen(agent: PlayedAgent, place: Path) -> None:
    program = (
        "import sys, time\nfrom httpapi.client.vm.freezing import held_still\n"
        "with held_still(['agent', sys.argv[1]], wanted=True):\n    time.sleep(60)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", program, str(place)], start_new_session=True)
    assert agent.waits_for("guest-fsfreeze-freeze")
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert agent.waits_for("guest-fsfreeze-thaw")


def test_a_backup_that_hangs_is_not_waited_for(
    agent: PlayedAgent, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezing, "LONGEST", 0.05)
    with (
        pytest.raises(MachineRefused, match="not frozen until the end"),
        held_still(["agent", str(place)], wanted=None),
    ):
        assert agent.waits_for("guest-fsfreeze-thaw")


def test_without_an_agent_nothing_is_frozen_unless_that_was_asked_for(tmp_path: Path) -> None:
    nobody = ["agent", str(tmp_path / "nobody")]
    with held_still(nobody, wanted=None) as frozen:
        assert frozen is None
    with (
        pytest.raises(MachineRefused, match="can't be frozen: cannot reach the guest agent"),
        held_still(nobody, wanted=True),
    ):
        pass
    with pytest.raises(MachineRefused, match="--agent"), held_still(None, wanted=True):
        pass


def test_a_freeze_that_is_refused_half_way_is_taken_back(agent: PlayedAgent, place: Path) -> None:
    agent.refuse = "guest-fsfreeze-freeze"
    with held_still(["agent", str(place)], wanted=None) as frozen:
        assert frozen is None
    assert "guest-fsfreeze-thaw" in agent.said


def test_a_guest_that_does_not_thaw_is_told_of(agent: PlayedAgent, place: Path) -> None:
    agent.refuse = "guest-fsfreeze-thaw"
    with pytest.raises(MachineRefused, match="no room"), held_still(["agent", str(place)], wanted=None):
        pass
    assert agent.said.count("guest-fsfreeze-thaw") == 3
