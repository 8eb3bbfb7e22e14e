"""The server as a process: how it starts, what it refuses, how it stops, and what a dead one leaves."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest

from httpapi.cli.root import run
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.forked_program import ForkedPrograms

HALF = b"x" * 500_000
WHOLE = len(HALF) * 2


def answer_of(connection: socket.socket) -> bytes:
    """What the server says until it closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_one_line_says_what_is_served_where_and_as_whom(tmp_path: Path) -> None:
    with ServeProcess(tmp_path / "data", DRYSTONE_IDENTITY_USER="ann") as server:
        place = f"Drystone serves {tmp_path / 'data'} on http://127.0.0.1:{server.port} "
        assert server.said == place + "(identity none: ann/default)\n"
        assert server.call("GET", "/healthcheck") == (200, b"OK")


def test_bytes_survive_a_restart(tmp_path: Path, programs: ForkedPrograms) -> None:
    with ServeProcess(tmp_path, programs) as server:
        image_id = server.new_image()
        assert server.call("PUT", f"/v2/images/{image_id}/file", HALF)[0] == 204
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
    with ServeProcess(tmp_path, programs) as server:
        assert server.call("GET", f"/v2/images/{image_id}/file") == (200, HALF)


def test_a_stopping_server_takes_nobody_new_and_finishes_what_runs(tmp_path: Path, programs: ForkedPrograms) -> None:
    with ServeProcess(tmp_path, programs) as server:
        image_id = server.new_image()
        with server.begin_upload(image_id, WHOLE, HALF) as upload:
            server.process.send_signal(signal.SIGTERM)
            while is_taking_connections(server.port):
                pass
            upload.sendall(HALF)
            answer = answer_of(upload)
        assert answer.startswith(b"HTTP/1.1 204 ")
        assert b"Connection: close" in answer
        assert server.process.wait(30) == 0
    with ServeProcess(tmp_path, programs) as server:
        assert server.call("GET", f"/v2/images/{image_id}/file") == (200, HALF + HALF)


def test_what_does_not_finish_within_the_grace_is_ended_and_its_image_queued(
    tmp_path: Path, programs: ForkedPrograms
) -> None:
    with ServeProcess(tmp_path, programs, DRYSTONE_SHUTDOWN_GRACE="0.3") as server:
        image_id = server.new_image()
        with server.begin_upload(image_id, WHOLE, HALF):
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(30) == 0
    with ServeProcess(tmp_path, programs) as server:
        assert server.status_of(image_id) == "queued"
        assert server.call("PUT", f"/v2/images/{image_id}/file", HALF)[0] == 204


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as server:
        image_id = server.new_image()
        with server.begin_upload(image_id, WHOLE, HALF):
            server.process.send_signal(signal.SIGTERM)
            while is_taking_connections(server.port):
                pass
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(10) == -signal.SIGTERM


def test_an_upload_of_a_killed_server_is_queued_again_when_the_next_one_listens(
    tmp_path: Path, programs: ForkedPrograms
) -> None:
    with ServeProcess(tmp_path, programs) as server:
        image_id = server.new_image()
        with server.begin_upload(image_id, WHOLE, HALF):
            server.process.kill()
            server.process.wait()
    with ServeProcess(tmp_path, programs) as server:
        assert server.status_of(image_id) == "queued"
        assert server.call("PUT", f"/v2/images/{image_id}/file", HALF)[0] == 204


def test_a_server_notices_another_ones_death_while_it_runs(tmp_path: Path, programs: ForkedPrograms) -> None:
    with ServeProcess(tmp_path, programs) as survivor, ServeProcess(tmp_path, programs) as server:
        image_id = server.new_image()
        with server.begin_upload(image_id, WHOLE, HALF):
            assert survivor.status_of(image_id) == "saving"
            server.process.kill()
            server.process.wait()
        while survivor.status_of(image_id) != "queued":
            pass


def test_a_body_is_stored_with_the_block_size_that_was_set(tmp_path: Path) -> None:
    config = tmp_path / "drystone.toml"
    config.write_text('block_size = "4KiB"\nslab_budget = "16MiB"\n')
    with ServeProcess(tmp_path / "data", DRYSTONE_CONFIG=str(config)) as server:
        image_id = server.new_image()
        assert server.call("PUT", f"/v2/images/{image_id}/file", HALF + b"tail")[0] == 204
        assert server.call("GET", f"/v2/images/{image_id}/file") == (200, HALF + b"tail")


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence that a start ends with."""
    assert run(["serve", *arguments]) == 1
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:9292", "[::]:0", "example.org:80"])
def test_listening_beyond_loopback_is_refused_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listen: str
) -> None:
    said = refusal(capsys, "--data", str(tmp_path / "data"), "--listen", listen)
    assert "there is no identity" in said
    assert not (tmp_path / "data").exists()


def test_what_cannot_be_started_ends_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stranger").write_text("not ours")
    assert "not empty" in refusal(capsys, "--data", str(tmp_path))
    assert "choose another data directory" in refusal(capsys, "--data", str(tmp_path / "stranger" / "below"))
    assert "cannot be read" in refusal(capsys, "--config", str(tmp_path / "none.toml"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "already in use" in refusal(capsys, "--data", str(tmp_path / "data"), "--listen", listen)
    monkeypatch.setenv("DRYSTONE_LISTN", "x")
    assert "did you mean DRYSTONE_LISTEN?" in refusal(capsys)


def is_taking_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
