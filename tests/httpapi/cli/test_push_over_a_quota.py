"""`drystone push` where a quota is in the way: one sentence, exit code 1, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from catalog.model.quota import Quota
from httpapi.cli.root import FAILURE, OK
from tests.kit.running_server import ADMIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.kit.running_server import RunningServer

    Drystone = Callable[..., tuple[int, str, str]]


def say(server: RunningServer, quota: Quota) -> None:
    server.run(server.services.database.write(lambda uow: uow.quotas.say(ADMIN.project, quota)))


@contextlib.contextmanager
def as_standard_input(path: Path) -> Iterator[None]:
    """What this process reads there is the file's."""
    before = os.dup(0)
    try:
        with path.open("rb") as file:
            os.dup2(file.fileno(), 0)
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


@pytest.mark.parametrize("stream", [False, True])
def test_a_file_and_a_stream_that_are_too_large_leave_nothing(
    *, stream: bool, server: RunningServer, drystone: Drystone, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"x" * 300_000)
    say(server, Quota(bytes=200_000))
    with as_standard_input(disk):
        code, out, err = drystone("push", "-" if stream else str(disk), "--name", "vm", "--parent", "none")
    assert (code, out) == (FAILURE, "")
    assert "bytes that its quota gives its images" in err
    assert "delete images first, or ask whoever runs this service for a larger quota (HTTP 413, request req-" in err
    assert len(err.splitlines()) == 1
    assert drystone("ls", "--all") == (OK, "", "")


def test_one_image_too_many_is_said_before_anything_is_sent(
    server: RunningServer, drystone: Drystone, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"x" * 1000)
    say(server, Quota(images=0))
    code, _, err = drystone("push", str(disk), "--name", "vm", "--parent", "none")
    assert code == FAILURE
    assert err.startswith("drystone: Project 'default' has 0 images, and its quota of images is 0: delete one first")
