"""What `drystone nbd` is made of: extents, nbdkit's command line, the socket, the overlay, the login's file."""

from __future__ import annotations

import asyncio
import socket
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from blockstore.resolve import Window
from httpapi.client.errors import ProgramMissing, TargetRefused
from httpapi.client.nbd_export.data_extents import write_extents
from httpapi.client.nbd_export.listening import TcpPlace, UnixPlace, listening
from httpapi.client.nbd_export.nbdkit import Nbdkit, Served, find_nbdkit
from httpapi.client.nbd_export.overlay import Base, prepare_overlay
from httpapi.client.nbd_export.serving import LoginFile
from httpapi.client.report import NoReport
from tests.kit.disk_room import disk_room

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpapi.client.api import ImagesApi
    from httpapi.client.block_names import ImageNames

ID = "33478045-2e01-44fd-bcc3-d8ffe5c17a80"
OTHER = "41d31af8-a8bb-477e-b5a5-9fb7bd49f3e8"


@dataclass
class PlayedNames:
    """Blocks of 4 bytes, windows of 3; a 1 is data. The last block is one byte short."""

    blocks: str

    @property
    def size(self) -> int:
        return 4 * len(self.blocks) - 1

    def windows(self, start: int, stop: int) -> Iterator[Window]:
        assert (start, stop) == (0, self.size)
        for at in range(0, len(self.blocks), 3):
            part = self.blocks[at : at + 3]
            bounds = np.minimum(np.arange(at, at + len(part) + 1, dtype=np.int64) * 4, self.size)
            digests = np.array([[int(each)] * 32 for each in part], dtype=np.uint8)
            yield Window.of(bounds, digests, np.zeros((len(part), 4), dtype=np.uint32))


@pytest.mark.parametrize(
    ("blocks", "lines", "holes"),
    [
        ("111111", ["0 23"], 0),
        ("011110", ["4 16"], 7),
        ("1001001", ["0 4", "12 4", "24 3"], 16),
        ("0000", [], 15),
    ],
)
def test_extents_of_data_are_joined_over_windows_and_the_rest_is_holes(
    tmp_path: Path, blocks: str, lines: list[str], holes: int
) -> None:
    assert write_extents(cast("ImageNames", PlayedNames(blocks)), tmp_path / "extents") == holes
    assert (tmp_path / "extents").read_text().splitlines() == lines


def test_the_command_line_names_files_and_no_secret_and_only_the_filters_that_serve() -> None:
    served = Served("https://h/v2/images/x/file", ID, Path("/r m/headers"), cacert=Path("/ca.pem"), read_only=True)
    command = Nbdkit("/nbdkit", reads_ahead=False).command(served)
    assert "header-script=exec cat '/r m/headers'" in command
    assert {"--readonly", "cainfo=/ca.pem", "followlocation=false", "proxy=", "exportname-strict=true"} <= set(command)
    assert not [word for word in command if "extentlist" in word or "readahead" in word]
    assert command.index("--filter=cow") < command.index("--filter=retry-request")
    ahead = Nbdkit("/nbdkit", reads_ahead=True).command(Served("http://h", ID, extents=Path("/e")))
    assert ahead.index("--filter=readahead") < ahead.index("--filter=cow")
    assert {"cow-on-cache=true", "extentlist=/e", "--filter=extentlist"} <= set(ahead)
    assert "--readonly" not in ahead
    # What is written into a hole is data; what is read of one stays a hole where nobody writes.
    assert ahead.index("--filter=cow") < ahead.index("--filter=extentlist")
    kept = Nbdkit("/nbdkit", reads_ahead=False).command(Served("http://h", ID, extents=Path("/e"), read_only=True))
    assert kept.index("--filter=extentlist") < kept.index("--filter=cow")


@pytest.fixture
def nbdkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A played nbdkit: what it says of its plugin is the file beside it, and its filters lie there."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/nbdkit"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --dump-plugin ] && exec /bin/cat {tmp_path}/curl\necho filterdir={tmp_path}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("exportname", "cow", "extentlist", "retry-request", "readahead"):
        (tmp_path / f"nbdkit-{name}-filter.so").touch()
    (tmp_path / "curl").write_text("name=curl\nversion=1.42.0\nmax_thread_model=parallel\n")
    return tmp_path


def test_an_nbdkit_that_lacks_something_is_told_with_what_to_install(nbdkit: Path) -> None:
    assert find_nbdkit().reads_ahead
    (nbdkit / "curl").write_text("name=curl\nversion=1.32.5\nmax_thread_model=serialize_requests\n")
    assert not find_nbdkit().reads_ahead
    (nbdkit / "nbdkit-cow-filter.so").unlink()
    with pytest.raises(ProgramMissing, match=r"lacks its filters cow: `apt install nbdkit`.*nbdkit-basic-filters"):
        find_nbdkit()
    (nbdkit / "curl").write_text("name=curl\nversion=1.24.1\n")
    with pytest.raises(ProgramMissing, match=r"nbdkit 1\.24\.1 is too old, 1\.30 is needed"):
        find_nbdkit()
    (nbdkit / "curl").unlink()
    with pytest.raises(ProgramMissing, match=r"no curl plugin: .*nbdkit-curl-plugin"):
        find_nbdkit()
    (nbdkit / "bin/nbdkit").unlink()
    with pytest.raises(ProgramMissing, match="nbdkit is not installed"):
        find_nbdkit()


def test_a_socket_is_its_owners_alone_and_gone_at_the_end() -> None:
    with disk_room() as room:
        path = room / "s"
        with listening(UnixPlace(path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with pytest.raises(TargetRefused, match="is served already"), listening(UnixPlace(path)):
                pass
            assert path.exists()
        assert not path.exists()
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(path))
        with listening(UnixPlace(path)):
            pass
        path.touch()
        with pytest.raises(TargetRefused, match="no socket"), listening(UnixPlace(path)):
            pass
        assert path.exists()
        with pytest.raises(TargetRefused, match="no group"), listening(UnixPlace(room / "t", "no-such-group")):
            pass
        assert not (room / "t").exists()
        with pytest.raises(TargetRefused, match="too long"), listening(UnixPlace(room / ("x" * 120))):
            pass


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        place = TcpPlace("127.0.0.1", port)
        with pytest.raises(TargetRefused, match=f"cannot listen on 127.0.0.1:{port}"), listening(place):
            pass
    assert TcpPlace("::1", 7).uri(ID) == f"nbd://[::1]:7/{ID}"


def test_an_overlay_is_made_once_and_stays_with_its_image(tmp_path: Path) -> None:
    file = tmp_path / "vm:7.qcow2"
    base = Base(UnixPlace(Path("/no/where")).uri(ID), ID, "raw", 1_000_001)
    assert prepare_overlay(file, base)
    made = file.read_bytes()
    assert not prepare_overlay(file, base)
    assert file.read_bytes() == made
    told = subprocess.run(["qemu-img", "info", "-U", str(file.absolute())], capture_output=True, text=True, check=True)
    assert "1000448 bytes" in told.stdout
    assert "backing file format: raw" in told.stdout
    elsewhere = Base(UnixPlace(Path("/else/where")).uri(ID), ID, "raw", 1_000_001)
    with pytest.raises(TargetRefused, match=r"was made over .*`qemu-img rebase -u -f qcow2 -F raw -b 'nbd"):
        prepare_overlay(file, elsewhere)
    with pytest.raises(TargetRefused, match="overlay of another image"):
        prepare_overlay(file, Base(UnixPlace(Path("/no/where")).uri(OTHER), OTHER, "raw", 1_000_001))
    assert file.read_bytes() == made


def test_a_file_that_is_something_else_is_no_overlay(tmp_path: Path) -> None:
    base = Base(UnixPlace(Path("/no/where")).uri(ID), ID, "raw", 1 << 20)
    (tmp_path / "text").write_text("mine")
    with pytest.raises(TargetRefused, match="no qcow2 file"):
        prepare_overlay(tmp_path / "text", base)
    assert (tmp_path / "text").read_text() == "mine"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(tmp_path / "disk"), "1M"], check=True)
    with pytest.raises(TargetRefused, match="no overlay of an image"):
        prepare_overlay(tmp_path / "disk", base)
    with pytest.raises(TargetRefused, match="cannot make"):
        prepare_overlay(tmp_path / "no/such/directory", base)
    with pytest.raises(TargetRefused, match="the service does not tell"):
        prepare_overlay(tmp_path / "new", Base(base.uri, ID, "qcow2", None))


@dataclass
class PlayedApi:
    """A service that takes the second login, and no longer the first."""

    login_headers: dict[str, str] = field(default_factory=lambda: {"X-Auth-Token": "old"})

    async def get_image(self, image_id: str) -> None:
        if self.login_headers["X-Auth-Token"] == "old":
            from httpapi.client.errors import LoginNeeded

            raise LoginNeeded(401, "the token has ended", None)

    async def log_in_again(self) -> bool:
        self.login_headers = {"X-Auth-Token": "new"}
        return True


def test_the_login_is_in_a_file_of_its_owners_and_written_anew_when_it_is_refused(tmp_path: Path) -> None:
    login = LoginFile(cast("ImagesApi", PlayedApi()), ID, tmp_path / "headers", NoReport())
    login.write()
    assert login.path.read_text() == "X-Auth-Token: old\n"
    assert stat.S_IMODE(login.path.stat().st_mode) == 0o600
    asyncio.run(login.renew())
    assert login.path.read_text() == "X-Auth-Token: new\n"
    assert stat.S_IMODE(login.path.stat().st_mode) == 0o600
