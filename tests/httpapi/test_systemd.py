"""The unit, as systemd reads it, and what the server tells a service manager."""

from __future__ import annotations

import configparser
import shutil
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from httpapi.notify import Notifier
from httpapi.settings import Settings
from httpapi.systemd.unit import USUAL_DATA, unit_for
from tests.kit.serve_process import ServeProcess

USUAL = Settings(data=USUAL_DATA)


def service(text: str) -> configparser.SectionProxy:
    """The unit's [Service] section; the last of several equal keys."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys are told apart by case
    parser.read_string(text)
    return parser["Service"]


@pytest.mark.parametrize("grace", [0.5, 30.0, 600.0])
def test_it_waits_longer_for_the_end_than_requests_may_take(grace: float) -> None:
    unit = service(unit_for(replace(USUAL, shutdown_grace=grace), config=None, flags={}))
    assert int(unit["TimeoutStopSec"]) > grace + 12


def test_it_locks_the_server_in(tmp_path: Path) -> None:
    unit = service(unit_for(USUAL, config=Path("/etc/drystone.toml"), flags={"insecure": True, "workers": None}))
    assert unit["ExecStart"].endswith(" serve --config /etc/drystone.toml --insecure --data /var/lib/drystone")
    assert Path(unit["ExecStart"].split()[0]).exists()
    assert (unit["Type"], unit["KillMode"], unit["Restart"]) == ("notify", "mixed", "on-failure")
    assert (unit["StateDirectory"], unit["StateDirectoryMode"], unit["UMask"]) == ("drystone", "0700", "0077")
    for name in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables", "MemoryDenyWriteExecute"):
        assert unit[name] == "yes"
    assert unit["ProtectSystem"] == "strict"
    elsewhere = service(unit_for(replace(USUAL, data=tmp_path), config=None, flags={}))
    assert elsewhere["ReadWritePaths"] == str(tmp_path)
    assert "StateDirectory" not in elsewhere


def test_it_may_write_where_stores_of_files_are(tmp_path: Path) -> None:
    stores = tmp_path / "stores.toml"
    stores.write_text(
        '[stores.fast]\ntype = "file"\ndirectory = "/mnt/a b/images"\nmount_point = "/mnt/a b"\n'
        '[stores.shelf]\ntype = "file"\ndirectory = "/srv/images"\n[stores.blocks]\nweight = 3\n'
        '[stores.deep]\ntype = "s3"\nbucket = "b"\naccess_key_env = "NOT_SET_HERE"\n'
    )
    text = unit_for(replace(USUAL, stores_file=stores), config=None, flags={})
    assert [line for line in text.splitlines() if line.startswith("ReadWritePaths=")] == [
        'ReadWritePaths="-/mnt/a b"',
        "ReadWritePaths=-/srv/images",
    ]
    at_work = service(unit_for(replace(USUAL, work_dir=Path("/mnt/scratch")), config=None, flags={}))
    assert at_work["ReadWritePaths"] == "-/mnt/scratch"
    stores.write_text("[")
    assert "ReadWritePaths" not in unit_for(replace(USUAL, stores_file=stores), config=None, flags={})


def test_words_are_written_as_systemd_reads_them() -> None:
    data = Path('/srv/100% of "$HOME"')
    unit = service(unit_for(replace(USUAL, data=data), config=None, flags={}))
    assert unit["ReadWritePaths"] == r'"/srv/100%% of \"$$HOME\""'


def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    file = tmp_path / "drystone.service"
    file.write_text(unit_for(USUAL, config=None, flags={}))
    run = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_a_service_manager_is_told_of_the_start_of_life_and_of_the_end(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(30)
        with ServeProcess(tmp_path / "data", NOTIFY_SOCKET=path, WATCHDOG_USEC="300000") as server:
            told = [manager.recv(4096).decode() for _ in range(4)]
            assert f"READY=1\nSTATUS=Serving on http://127.0.0.1:{server.port}" in told
            assert told.count("WATCHDOG=1") == 3
            server.process.send_signal(signal.SIGTERM)
            while not manager.recv(4096).startswith(b"STOPPING=1"):
                pass
            assert server.process.wait(30) == 0


def test_where_nobody_asked_nothing_is_sent_and_who_is_gone_does_no_harm(tmp_path: Path) -> None:
    Notifier("").ready("nobody hears it")
    Notifier(str(tmp_path / "gone")).stopping()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0drystone-test-" + tmp_path.name)
        manager.settimeout(30)
        Notifier("@drystone-test-" + tmp_path.name).stopping()
        assert manager.recv(100).startswith(b"STOPPING=1")
    assert Notifier("x", "60000000").beat_seconds == 20
    assert Notifier("x", "soon").beat_seconds == 0
