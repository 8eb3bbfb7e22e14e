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
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from httpapi.client.vm import agent as agents
from httpapi.client.vm import freezer, freezing, virsh
from httpapi.client.vm.freezing import held_still
from httpapi.client.vm.machine import MachineRefused
from tests.kit.played_libvirt import PlayedLibvirt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class PlayedAgent:
    """Answers as the guest agent does; one command after the other.

    `said` are the commands that it was given, `late` for how many seconds it works on one of them.
    """

    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        self.refuse = ""
        self.late: dict[str, float] = {}
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
                    time.sleep(self.late.get(asked["execute"], 0))
                    with suppress(OSError):
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


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The freezer in this process, with less patience."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(agents, "_SECONDS", 0.2)
    monkeypatch.setattr(freezer, "_PENDING_SECONDS", 5.0)
    monkeypatch.setattr(freezer, "_PAUSE_SECONDS", 0.01)


@pytest.mark.usefixtures("hasty")
def test_a_freeze_that_comes_to_be_after_its_time_is_thawed(
    agent: PlayedAgent, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.late["guest-fsfreeze-freeze"] = 1.0
    freezer.main(["10", "agent", str(place)])
    assert capsys.readouterr().out == "the guest agent has not answered guest-fsfreeze-freeze for 0 s\n"
    assert agent.said[-1] == "guest-fsfreeze-thaw"


@pytest.mark.usefixtures("hasty")
def test_a_guest_that_may_stay_frozen_is_told_of_and_will_be_thawed(
    agent: PlayedAgent, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezer, "_PENDING_SECONDS", 0.0)
    agent.late["guest-fsfreeze-freeze"] = 1.5
    freezer.main(["10", "agent", str(place)])
    told = capsys.readouterr().out
    assert told.startswith("stuck: the guest agent has not answered guest-fsfreeze-freeze")
    assert "THE GUEST MAY STAY FROZEN" in told
    assert f"UNIX-CONNECT:{place}" in told
    # The agent has it, and comes to it.
    assert agent.waits_for("guest-fsfreeze-thaw")


@pytest.mark.usefixtures("hasty")
def test_by_libvirt_a_freeze_that_is_not_waited_for_any_more_is_thawed_when_it_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    libvirt = PlayedLibvirt(tmp_path / "libvirt")
    monkeypatch.setenv("PATH", f"{libvirt.path}:{os.environ['PATH']}")
    monkeypatch.setattr(virsh, "_SECONDS", 0.5)
    libvirt.put("hang-domfsfreeze")
    libvirt.put("refuse-domfsthaw", "cannot acquire state change lock")
    threading.Timer(1.5, libvirt.mend, ["refuse-domfsthaw"]).start()
    freezer.main(["10", "virsh", "", "web"])
    assert capsys.readouterr().out.startswith("libvirt refuses domfsfreeze: it has not answered")
    assert libvirt.taken()[:2] == ["domfsfreeze web", "domfsthaw web"]
    libvirt.put("refuse-domfsthaw", "cannot acquire state change lock")
    monkeypatch.setattr(freezer, "_PENDING_SECONDS", 0.0)
    freezer.main(["10", "virsh", "qemu:///system", "web"])
    assert "virsh --connect=qemu:///system domfsthaw web" in capsys.readouterr().out


@pytest.mark.parametrize("wanted", [None, True])
@pytest.mark.parametrize("said", ["'stuck: no luck'", "'frozen 2\\nstuck: no luck'"])
def test_a_backup_fails_whose_guest_may_stay_frozen(
    said: str, monkeypatch: pytest.MonkeyPatch, *, wanted: bool | None
) -> None:
    monkeypatch.setattr(freezing, "_PROGRAM", ("-c", f"print({said})"))
    with pytest.raises(MachineRefused, match="no luck"), held_still(["agent", "/a"], wanted=wanted):
        raise MachineRefused("and more")
