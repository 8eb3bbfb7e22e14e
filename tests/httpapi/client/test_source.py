from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from httpapi.client.errors import SourceRefused
from httpapi.client.source import PIECE, ZEROS, FileSource, Source, StreamSource, open_source
from tests.kit.open_files import none_left_open

if TYPE_CHECKING:
    from pathlib import Path


def read_all(source: Source, piece: int = PIECE) -> bytes:
    buffer = memoryview(bytearray(piece))
    found = bytearray()
    try:
        while got := source.read(buffer):
            found += got
    finally:
        source.close()
    return bytes(found)


def test_a_file_is_read_whole_in_pieces_that_do_not_divide_it(tmp_path: Path) -> None:
    data = os.urandom(100_003)
    (tmp_path / "disk").write_bytes(data)
    source = open_source(str(tmp_path / "disk"))
    assert source.size == len(data)
    assert read_all(source, 4096) == data


def test_holes_of_a_sparse_file_come_from_one_static_buffer(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(20 << 20)
        file.seek(5 << 20)
        file.write(b"data")
        file.seek((9 << 20) + 77)
        file.write(b"more")
    expected = (tmp_path / "disk").read_bytes()
    source = open_source(str(tmp_path / "disk"))
    buffer = memoryview(bytearray(PIECE))
    found, static = bytearray(), 0
    while piece := source.read(buffer):
        static += piece.obj is ZEROS.obj
        found += piece
    source.close()
    assert bytes(found) == expected
    # 20 pieces, at most two of them with data.
    assert static >= 18


def test_an_empty_file_has_no_pieces(tmp_path: Path) -> None:
    (tmp_path / "disk").touch()
    assert read_all(open_source(str(tmp_path / "disk"))) == b""


@pytest.mark.parametrize("change", [-100, 100])
def test_a_file_that_changes_its_size_while_it_is_read_is_refused(tmp_path: Path, change: int) -> None:
    path = tmp_path / "disk"
    path.write_bytes(os.urandom(10_000))
    source = open_source(str(path))
    buffer = memoryview(bytearray(4096))
    assert source.read(buffer)
    os.truncate(path, 10_000 + change)
    with pytest.raises(SourceRefused, match="changed its size while it was read"):
        read_all(source, 4096)


def test_what_cannot_be_pushed_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="No such file"):
        open_source(str(tmp_path / "none"))
    with pytest.raises(SourceRefused, match="is a directory"):
        open_source(str(tmp_path))
    with pytest.raises(SourceRefused, match="an empty text names no file"):
        open_source("")
    (tmp_path / "disk").touch()
    with pytest.raises(SourceRefused, match="has a size of its own"):
        open_source(str(tmp_path / "disk"), size=5)


@pytest.mark.parametrize("path", ["/proc/cpuinfo", "/proc/self/environ", "/proc/version"])
def test_what_the_kernel_makes_up_is_refused_by_name_and_with_a_way(path: str) -> None:
    with none_left_open(), pytest.raises(SourceRefused, match=rf"{path}.*`cat {path} \| drystone push - --name NAME`"):
        open_source(path)


def test_a_read_that_fails_names_the_file_and_the_byte(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"0123456789")
    source = FileSource(os.open(tmp_path / "disk", os.O_WRONLY), "disk")
    with pytest.raises(SourceRefused, match="cannot read disk at byte 0: Bad file descriptor"):
        read_all(source)


def pipe_with(data: bytes, size: int | None = None) -> StreamSource:
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    return StreamSource(read_end, "a pipe", size)


def test_a_pipe_is_read_to_its_end() -> None:
    source = pipe_with(b"0123456789")
    assert source.size is None
    assert read_all(source, 4) == b"0123456789"


def test_a_pipe_must_hold_what_was_announced() -> None:
    assert read_all(pipe_with(b"0123456789", 10), 4) == b"0123456789"
    with pytest.raises(SourceRefused, match="more bytes, not the 9 announced"):
        read_all(pipe_with(b"0123456789", 9), 4)
    with pytest.raises(SourceRefused, match="only 10 bytes, not the 11 announced"):
        read_all(pipe_with(b"0123456789", 11), 4)


def test_a_pipe_where_nothing_comes_can_be_left() -> None:
    read_end, write_end = os.pipe()
    source = StreamSource(read_end, "a pipe", None)
    thread = threading.Thread(target=lambda: source.read(memoryview(bytearray(10))))
    thread.start()
    source.stop()
    thread.join(20)
    assert not thread.is_alive()
    os.close(write_end)
    source.close()


def test_a_file_as_a_stream_knows_what_is_left_of_it(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"0123456789")
    descriptor = os.open(tmp_path / "disk", os.O_RDONLY)
    os.read(descriptor, 3)
    source = StreamSource(descriptor, "standard input", None)
    assert source.size == 7
    assert read_all(source) == b"3456789"


def test_only_a_file_can_be_read_again(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"0123456789")
    source = open_source(str(tmp_path / "disk"))
    assert isinstance(source, FileSource)
    read_all(source)
    again = source.again()
    assert again is not None
    assert read_all(again) == b"0123456789"
    pipe = pipe_with(b"")
    assert pipe.again() is None
    pipe.close()
