"""`drystone nbd`: an image served to NBD clients by the real nbdkit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from httpapi.cli.nbd import qemu_arguments
from httpapi.cli.root import run
from httpapi.client.nbd_export.listening import UnixPlace
from httpapi.client.nbd_export.serving import Ready, ServingWish
from httpapi.client.nbd_file import NbdFile
from httpapi.identity.passwords import hash_of
from httpapi.wire.images import ImageRecord
from tests.kit.disk_room import disk_room
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = (sys.executable, "-c", "from httpapi.cli.root import main; main()")
ROOT = Path(__file__).parents[3]
PASSWORD = "wonderland"
IMAGE = ImageRecord(id="x", status="active", visibility="private", created_at="", updated_at="")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[ServeProcess]:
    """A server that alice may use."""
    (tmp_path / "htpasswd").write_text(f"alice:{hash_of(PASSWORD, cost=4)}\n")
    (tmp_path / "accounts.toml").write_text('[users.alice]\nprojects = {lab = ["member"]}\n')
    for name in ("htpasswd", "accounts.toml"):
        (tmp_path / name).chmod(0o600)
    settings = {"DRYSTONE_IDENTITY": "basic", "DRYSTONE_IDENTITY_FILE": str(tmp_path / "htpasswd")}
    accounts = {"DRYSTONE_IDENTITY_ACCOUNTS": str(tmp_path / "accounts.toml")}
    with ServeProcess(tmp_path / "data", **settings, **accounts) as running:
        yield running


def command_lines(parent: int) -> list[str]:
    """Of the processes below one."""
    lines = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            above = int(each.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            words = each.joinpath("cmdline").read_text() + each.joinpath("environ").read_text()
        except OSError:
            continue
        if above == parent:
            lines += [words, *command_lines(int(each.name))]
    return lines


@pytest.mark.serial
def test_an_image_is_read_written_to_and_unchanged_by_a_login_that_no_process_list_tells(
    guarded: ServeProcess, tmp_path: Path
) -> None:
    content = random.Random(1).randbytes(1 << 20) + bytes(5 << 20) + random.Random(2).randbytes(100_000)
    (tmp_path / "disk.raw").write_bytes(content)
    login = {"DRYSTONE_USER": "alice", "DRYSTONE_PASSWORD": PASSWORD, "HOME": str(tmp_path)}
    endpoint = {"DRYSTONE_ENDPOINT": f"http://127.0.0.1:{guarded.port}"}
    variables = os.environ | login | endpoint | {"XDG_STATE_HOME": str(tmp_path)}
    pushed = [*PROGRAM, "push", str(tmp_path / "disk.raw"), "--name", "debian"]
    image = subprocess.run(
        pushed, cwd=ROOT, env=variables, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    with disk_room() as room:
        serving = [*PROGRAM, "nbd", "debian", "--socket", str(room / "s"), "--json"]
        with subprocess.Popen(serving, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as serves:
            try:
                assert serves.stdout is not None
                ready = json.loads(serves.stdout.readline())
                assert ready["id"] == image
                assert ready["holes"] == 5 << 20
                below = "".join(command_lines(serves.pid))
                assert image in below
                assert PASSWORD not in below
                mapped = subprocess.run(["nbdinfo", "--map", "--json", ready["uri"]], check=True, capture_output=True)
                assert [(row["offset"], row["length"]) for row in json.loads(mapped.stdout) if row["type"] == 3] == [
                    (1 << 20, 5 << 20)
                ]
                disk = NbdFile(ready["uri"])
                read = bytearray(len(content))
                disk.fill(memoryview(read), 0)
                disk.close()
                assert read == content
                wanted = ["qemu-io", "-f", "raw", "-c", "write -q -P 7 4096 70000", "-c", "read -P 7 4096 70000"]
                subprocess.run([*wanted, ready["uri"]], check=True, stdout=subprocess.DEVNULL)
            finally:
                serves.send_signal(signal.SIGTERM)
        assert serves.returncode == 0
        assert not (room / "s").exists()
    back = [*PROGRAM, "pull", image, str(tmp_path / "back.raw")]
    subprocess.run(back, cwd=ROOT, env=variables, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / "back.raw").read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say where to serve"),
        (("--socket", "s", "--tcp", "1"), "say where to serve"),
        (("--tcp", "x"), "say PORT or HOST:PORT"),
        (("--tcp", "70000"), "say PORT or HOST:PORT"),
        (("--tcp", "1", "--group", "kvm"), "a port has no permissions"),
        (("--socket", "s", "--fetch", "100K"), "a power of two"),
        (("--socket", "s", "--fetch", "64M"), "a power of two"),
        (("--socket", "s", "--overlay", "o", "--read-only"), "--overlay is for writing"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(("--endpoint", "http://127.0.0.1:1", "nbd", "debian", *arguments)) == 2
    assert said in capsys.readouterr().err


def test_the_command_for_qemu_pins_every_format() -> None:
    place = UnixPlace(Path("/run/s"))
    plain = json.loads(qemu_arguments(Ready(IMAGE, "", "raw", 0), ServingWish(place))[1])
    assert plain["driver"] == "raw"
    assert plain["file"]["driver"] == "nbd"
    # What was written is gone when it is served anew: a machine must not go on with a disk that it did not write.
    assert "reconnect-delay" not in plain["file"]
    wish = ServingWish(place, overlay=Path("/vm.qcow2"))
    arguments = qemu_arguments(Ready(IMAGE, "", "qcow2", 0), wish)
    base, over = json.loads(arguments[1]), json.loads(arguments[3])
    assert (over["driver"], over["backing"], base["node-name"]) == ("qcow2", "base", "base")
    assert (base["driver"], base["read-only"], base["backing"]) == ("qcow2", True, None)
    assert base["file"]["reconnect-delay"] == 60
