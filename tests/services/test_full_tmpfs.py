"""A really full file system: 64 MiB of tmpfs, a real server on it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from httpapi.cli.root import OK, run
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.serial, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a tmpfs")]
MIB = 1024 * 1024
HELD = random.Random(1).randbytes(5 * MIB)
TOO_MUCH = random.Random(2).randbytes(80 * MIB)
FITS = random.Random(3).randbytes(6 * MIB)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def fill(path: Path) -> None:
    """Take all the space there is, to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def test_a_full_disk_is_413_or_503_and_the_server_goes_on_when_there_is_space(small_disk: Path) -> None:
    with ServeProcess(small_disk / "data") as server:
        held = server.new_image()
        assert server.call("PUT", f"/v2/images/{held}/file", HELD)[0] == 204
        image = server.new_image()
        status, answer = server.call("PUT", f"/v2/images/{image}/file", TOO_MUCH)
        assert status in {413, 503}, answer
        assert server.status_of(image) == "queued"
        assert server.call("GET", f"/v2/images/{held}/file") == (200, HELD)


def two_images(data: Path) -> list[str]:
    """HELD and FITS, each in a pack of its own, which is sealed when its dead writer's is adopted."""
    images = []
    for bytes_of in (HELD, FITS):
        with ServeProcess(data) as server:
            images.append(server.new_image())
            assert server.call("PUT", f"/v2/images/{images[-1]}/file", bytes_of)[0] == 204
    return images


def test_on_a_full_disk_an_image_is_deleted_and_its_space_comes_back(small_disk: Path) -> None:
    data, filler = small_disk / "data", small_disk / "filler"
    images = two_images(data)
    with ServeProcess(data) as server:
        fill(filler)
        assert server.call("DELETE", f"/v2/images/{images[0]}")[0] == 204
        assert run(["admin", "gc", "--keep-deleted", "0", "--data", str(data)]) == OK
        assert shutil.disk_usage(small_disk).free > 4 * MIB
        assert server.call("GET", f"/v2/images/{images[1]}/file") == (200, FITS)
        image = server.new_image()
        assert server.call("PUT", f"/v2/images/{image}/file", HELD[: 2 * MIB])[0] == 204


def test_what_a_deletion_was_given_of_a_full_disk_may_be_gone_before_it_is_collected(small_disk: Path) -> None:
    data = small_disk / "data"
    images = two_images(data)
    with ServeProcess(data) as server:
        fill(small_disk / "filler")
        assert server.call("DELETE", f"/v2/images/{images[0]}")[0] == 204
        fill(small_disk / "another")
        assert not shutil.disk_usage(small_disk).free
        assert run(["admin", "gc", "--keep-deleted", "0", "--data", str(data)]) == OK
        assert shutil.disk_usage(small_disk).free > 2 * MIB
        assert server.call("GET", f"/v2/images/{images[1]}/file") == (200, FITS)


def test_a_disk_that_others_fill_to_the_last_byte_half_does_nothing(small_disk: Path) -> None:
    with ServeProcess(small_disk / "data") as server:
        held, image = server.new_image(), server.new_image()
        assert server.call("PUT", f"/v2/images/{held}/file", HELD)[0] == 204
        filler = small_disk / "filler"
        fill(filler)
        status, answer = server.call("PUT", f"/v2/images/{image}/file", FITS)
        assert status in {413, 503}, answer
        create, answer = server.call("POST", "/v2/images", b'{"disk_format": "raw"}', "application/json")
        assert create in {201, 413, 503}, answer
        assert server.call("GET", f"/v2/images/{held}/file") == (200, HELD)
        filler.unlink()
        # The sweep puts back what could not be put back while there was no space for saying so.
        for _ in range(100):
            if server.status_of(image) == "queued":
                break
        assert server.call("PUT", f"/v2/images/{image}/file", FITS)[0] == 204
        assert server.call("GET", f"/v2/images/{image}/file") == (200, FITS)
        assert server.status_of(image) == "active"
