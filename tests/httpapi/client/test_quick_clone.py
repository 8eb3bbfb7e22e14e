"""Clones of files that a service names: when there is one, how it comes to be, and when it is an ordinary pull."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from blockstore import file_clone
from httpapi.cli.root import run
from httpapi.client.api import ImagesApi
from httpapi.client.errors import TargetRefused
from httpapi.client.quick_clone import local_files
from httpapi.client.transfers import clone_disk

if TYPE_CHECKING:
    from pathlib import Path

    from httpapi.client.pull import PullResult
    from tests.kit.small_server import SmallServer

MIB = 1 << 20
DATA = b"begin" + bytes(4 * MIB) + os.urandom(MIB + 3)


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.at = 0

    def begin(self, total: int | None) -> None:
        self.at = 0

    def moved(self, done: int) -> None:
        self.at = done

    def compared(self, unchanged: int, moved: int) -> None: ...

    def tell(self, sentence: str) -> None: ...

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The image's bytes in a file of this machine, sparse as a store has it."""
    path = tmp_path / "store" / "a b%20ä"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.write(DATA[:5])
        file.seek(4 * MIB + 5)
        file.write(DATA[4 * MIB + 5 :])
    return path


def clone(
    small: SmallServer, image_id: str, target: Path, notes: Notes, *, force: bool = False, verify: bool = True
) -> PullResult:
    async def scenario() -> PullResult:
        async with ImagesApi(small.url) as api:
            return await clone_disk(api, image_id, str(target), notes, force=force, verify=verify)

    return asyncio.run(scenario())


def downloads(small: SmallServer) -> int:
    return sum(path.endswith("/file") for _, path, _ in small.asked)


def test_a_file_that_is_named_is_copied_with_its_holes_where_it_cannot_be_shared(
    small: SmallServer, copy: Path, tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_clone, "clone", lambda _source, _target: False)
    target = tmp_path / "out.raw"
    result = clone(small, small.add(data=DATA, direct_url=copy.as_uri()), target, notes)
    assert target.read_bytes() == DATA
    assert target.stat().st_blocks * 512 < 2 * MIB
    assert (result.cloned, result.verified, result.received, result.unchanged) == ("copy", True, 0, len(DATA))
    assert downloads(small) == 0
    assert notes.notes == ["the file system cannot share the blocks of both files: copying them, holes kept"]
    assert notes.at == len(DATA)


def test_a_file_that_can_be_shared_is_not_copied(
    small: SmallServer, copy: Path, tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def share(source: int, target: int) -> bool:
        file_clone.copy_range(source, target, 0, len(DATA))
        return True

    monkeypatch.setattr(file_clone, "clone", share)
    target = tmp_path / "out.raw"
    result = clone(small, small.add(data=DATA, direct_url=copy.as_uri()), target, notes)
    assert target.read_bytes() == DATA
    assert result.cloned == "reflink"
    assert notes.notes == []


def test_locations_are_tried_in_their_order_after_the_direct_url(
    small: SmallServer, copy: Path, tmp_path: Path, notes: Notes
) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"x")
    urls = ["rbd://fsid/pool/image/snap", (tmp_path / "none").as_uri(), short.as_uri(), copy.as_uri()]
    image_id = small.add(data=DATA, locations=[{"url": url, "metadata": {}} for url in urls])
    result = clone(small, image_id, tmp_path / "out.raw", notes)
    assert result.cloned is not None
    assert notes.notes[:2] == [
        f"{tmp_path / 'none'} cannot be read (No such file or directory): no clone of it",
        f"{short} is no file of the image's {len(DATA)} bytes: no clone of it",
    ]


def test_without_a_file_it_is_an_ordinary_pull_that_says_why(small: SmallServer, tmp_path: Path, notes: Notes) -> None:
    target = tmp_path / "out.raw"
    result = clone(small, small.add(data=DATA), target, notes)
    assert target.read_bytes() == DATA
    assert (result.cloned, result.received) == (None, len(DATA))
    assert notes.notes[0] == "the service names no file of this machine that holds the image: pulling it"


def test_a_file_with_other_bytes_is_noticed_and_the_image_pulled(
    small: SmallServer, copy: Path, tmp_path: Path, notes: Notes
) -> None:
    copy.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    target = tmp_path / "out.raw"
    result = clone(small, small.add(data=DATA, direct_url=copy.as_uri()), target, notes)
    assert target.read_bytes() == DATA
    assert result.cloned is None
    assert notes.notes[-1] == "the file that the service names holds other bytes than the image: pulling it"


def test_who_trusts_the_file_need_not_wait_for_its_hash(
    small: SmallServer, copy: Path, tmp_path: Path, notes: Notes
) -> None:
    other = bytes(len(DATA))
    copy.write_bytes(other)
    target = tmp_path / "out.raw"
    result = clone(small, small.add(data=DATA, direct_url=copy.as_uri()), target, notes, verify=False)
    assert target.read_bytes() == other
    assert not result.verified


def test_without_a_hash_nothing_is_cloned_unless_the_file_is_trusted(
    small: SmallServer, copy: Path, tmp_path: Path, notes: Notes
) -> None:
    small.faults.hash_algorithm = None
    small.faults.no_checksum = True
    image_id = small.add(data=DATA, direct_url=copy.as_uri())
    assert clone(small, image_id, tmp_path / "one.raw", notes).cloned is None
    assert "states no hash yet" in notes.notes[0]
    assert clone(small, image_id, tmp_path / "two.raw", notes, verify=False).cloned is not None


def test_a_file_that_fails_in_the_middle_leaves_nothing_and_the_image_is_pulled(
    small: SmallServer, copy: Path, tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(file_clone, "copy_range", fail)
    monkeypatch.setattr(file_clone, "clone", lambda _source, _target: False)
    target = tmp_path / "out.raw"
    result = clone(small, small.add(data=DATA, direct_url=copy.as_uri()), target, notes)
    assert target.read_bytes() == DATA
    assert result.cloned is None
    assert "could not be cloned (Input/output error): pulling the image" in notes.notes[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.raw", "store"]


def test_a_file_is_replaced_only_by_force_and_a_stream_is_none(
    small: SmallServer, copy: Path, tmp_path: Path, notes: Notes
) -> None:
    image_id = small.add(data=DATA, direct_url=copy.as_uri())
    target = tmp_path / "out.raw"
    target.write_bytes(b"old")
    with pytest.raises(TargetRefused):
        clone(small, image_id, target, notes)
    assert target.read_bytes() == b"old"
    assert clone(small, image_id, target, notes, force=True).cloned is not None
    assert target.read_bytes() == DATA
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(TargetRefused, match="no regular file, and only that can be a clone"):
        clone(small, image_id, pipe, notes, force=True)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///a/b", "/a/b"),
        ("file://localhost/a%20b", "/a b"),
        ("file://elsewhere/a", None),
        ("file:a", None),
        ("file:///a?b", None),
        ("file:///a%00b", None),
        ("http:///a", None),
        ("file://[", None),
        (7, None),
    ],
)
def test_only_files_of_this_machine_are_looked_at(url: object, path: str | None) -> None:
    assert local_files({"direct_url": url}) == ([] if path is None else [path])
    assert local_files({"locations": [{"url": url}, "x"], "direct_url": None}) == ([] if path is None else [path])
    assert local_files({"locations": "x"}) == []


def test_the_verb_tells_how_the_file_came_to_be(
    small: SmallServer,
    copy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DRYSTONE_ENDPOINT", small.url)
    image_id = small.add(data=DATA, direct_url=copy.as_uri())
    target = str(tmp_path / "out.raw")
    assert run(["pull", image_id, target, "--reflink", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["cloned"] in {"reflink", "copy"}
    assert run(["pull", image_id, "-", "--reflink"]) == 2
    assert run(["pull", image_id, target, "--reflink", "--seed", target]) == 2
    assert run(["pull", image_id, target, "--no-verify", "--force"]) == 2
    assert "always checked" in capfd.readouterr().err
