"""The verbs against `drystone serve`, each a process of its own, as a user has them; forked, not started."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.forked_program import ForkedPrograms

MIB = 1 << 20


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory, programs: ForkedPrograms) -> Iterator[Endpoint]:
    with ServeProcess(tmp_path_factory.mktemp("served") / "data", programs) as server:
        yield Endpoint(f"http://127.0.0.1:{server.port}", programs)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server is, and what starts a verb."""

    url: str
    programs: ForkedPrograms


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Data, a hole, data, an odd tail; other bytes each time."""
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.write(os.urandom(3 * MIB))
        file.seek(20 * MIB)
        file.write(os.urandom(2 * MIB + 333))
    return path


def drystone(endpoint: Endpoint, *arguments: str, given: bytes = b"", code: int = 0) -> bytes:
    done = endpoint.programs.start(["--endpoint", endpoint.url, *arguments], given=given)
    out, err = done.communicate(60)
    assert done.returncode == code, err.decode()
    return err if code else out


def test_a_disk_image_goes_in_and_comes_out_byte_for_byte_and_sparse(
    endpoint: Endpoint, disk: Path, tmp_path: Path
) -> None:
    pushed = json.loads(drystone(endpoint, "push", str(disk), "--name", "web", "--property", "a=b", "--json"))
    assert (pushed["size"], pushed["verified"], pushed["os_hash_algo"]) == (disk.stat().st_size, True, "sha512")
    drystone(endpoint, "pull", "web", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == disk.read_bytes()
    assert (tmp_path / "copy").stat().st_blocks * 512 <= 8 * MIB
    assert drystone(endpoint, "pull", pushed["id"][:8], "-") == disk.read_bytes()
    shown = json.loads(drystone(endpoint, "show", "web", "--json"))
    assert (shown["id"], shown["status"], shown["a"]) == (pushed["id"], "active", "b")
    assert drystone(endpoint, "rm", "web").decode().strip() == pushed["id"]
    assert b"no image has" in drystone(endpoint, "show", pushed["id"], code=1)


def test_a_shifted_copy_goes_in_by_content_and_comes_out(endpoint: Endpoint, tmp_path: Path) -> None:
    data = os.urandom(3 * MIB)
    for name, given in (("first", data), ("second", b"shifted" + data)):
        drystone(endpoint, "push", "-", "--name", name, "--cutting", "content-defined:16KiB", given=given)
        assert drystone(endpoint, "pull", name, "-") == given
    shown = json.loads(drystone(endpoint, "show", "second", "--json"))
    assert shown["drystone_cutting"] == "content-defined:16KiB"


def test_a_stream_goes_in_whether_or_not_its_size_is_told(endpoint: Endpoint) -> None:
    given = os.urandom(3 * MIB + 1)
    drystone(endpoint, "push", "-", "--name", "piped", given=given)
    drystone(endpoint, "push", "-", "--name", "piped", "--size", str(len(given)), given=given)
    assert drystone(endpoint, "pull", "piped", "-") == given
    assert drystone(endpoint, "ls", "piped", "--quiet").count(b"\n") == 2
    assert b"may mean any of 2 images" in drystone(endpoint, "rm", "piped", code=2)


def test_a_failed_push_leaves_no_image(endpoint: Endpoint) -> None:
    err = drystone(endpoint, "push", "-", "--name", "short", "--size", "5", given=b"four", code=1)
    assert b"holds only 4 bytes" in err
    assert drystone(endpoint, "ls", "short") == b""


def test_an_empty_image_goes_in_and_comes_out(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    drystone(endpoint, "push", str(tmp_path / "empty"))
    drystone(endpoint, "pull", "empty", str(tmp_path / "copy"))
    assert (tmp_path / "copy").stat().st_size == 0


def test_refusals_of_the_server_reach_the_user_as_one_line(endpoint: Endpoint, disk: Path) -> None:
    image_id = drystone(endpoint, "push", str(disk), "--name", "safe", "--protected").decode().strip()
    for arguments in (("rm", "safe"), ("push", str(disk), "--id", image_id), ("push", str(disk), "--id", "no-uuid")):
        err = drystone(endpoint, *arguments, code=1).decode()
        assert re.fullmatch(r"drystone: .+ \(HTTP \d+, request req-\S+\)\n", err)
    assert json.loads(drystone(endpoint, "show", "safe", "--json"))["status"] == "active"


def test_tags_and_hidden_images_are_found_as_asked(endpoint: Endpoint, disk: Path) -> None:
    hidden = drystone(endpoint, "push", str(disk), "--name", "old", "--hidden", "--tag", "nightly").decode().strip()
    assert drystone(endpoint, "ls", "--tag", "nightly") == b""
    assert drystone(endpoint, "ls", "--tag", "nightly", "--all", "-q").decode().strip() == hidden
    assert json.loads(drystone(endpoint, "show", "old", "--json"))["id"] == hidden
    assert json.loads(drystone(endpoint, "show", hidden[:6], "--json"))["id"] == hidden


@pytest.mark.parametrize("name", ["debian:12", "in:a,b", "eq:x", "abcdef01-2345-4678-9abc-def012345678"])
def test_names_that_look_like_something_else_are_found(endpoint: Endpoint, disk: Path, name: str) -> None:
    image_id = drystone(endpoint, "push", str(disk), "--name", name).decode().strip()
    assert drystone(endpoint, "ls", name, "-q").decode().strip() == image_id
    assert drystone(endpoint, "pull", name, "-") == disk.read_bytes()
    assert drystone(endpoint, "rm", name).decode().strip() == image_id


def test_an_image_with_an_id_in_capital_letters_is_reached_by_it(endpoint: Endpoint, disk: Path) -> None:
    image_id = "ABCDEF01-2345-4678-9ABC-DEF012345678"
    pushed = drystone(endpoint, "push", str(disk), "--id", image_id).decode().strip()
    assert pushed.lower() == image_id.lower()
    assert drystone(endpoint, "rm", image_id).decode().strip() == pushed
