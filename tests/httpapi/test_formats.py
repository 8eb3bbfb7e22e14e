"""Images whose bytes are not of their format: 415, nothing is kept, and the right bytes are taken at once."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.formats.rules import Formats
from tests.kit.disk_files import DANGERS, DISK_SIZES, boot_sector, disk_file, format_of, luks1
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.usecases.services import Services

OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def services(services: Services) -> Services:
    return replace(services, formats=Formats.ENFORCE)


@pytest.fixture
def lenient(services: Services) -> Iterator[RunningServer]:
    with RunningServer(replace(services, formats=Formats.WARN)) as running:
        yield running


def put(server: RunningServer, image: str, data: bytes, *, chunked: bool = False) -> tuple[int, str | None]:
    body = iter([data[:1000], data[1000:]]) if chunked else data
    answer = server.call("PUT", f"/v2/images/{image}/file", body, OCTETS)
    return answer.status, answer.code


@pytest.mark.parametrize("chunked", [False, True])
def test_a_mismatch_is_415_keeps_nothing_and_a_corrected_upload_works_at_once(
    server: RunningServer, services: Services, *, chunked: bool
) -> None:
    image = server.new_image(disk_format="qcow2")
    assert put(server, image, b"\0" * 100_000, chunked=chunked) == (415, "format-refused")
    record = server.call("GET", f"/v2/images/{image}").json
    told = {name: record[name] for name in ("status", "size", "virtual_size", "checksum", "os_hash_value")}
    assert told == {"status": "queued", "size": None, "virtual_size": None, "checksum": None, "os_hash_value": None}
    assert isinstance(services.blocks, MemoryBlocks)
    assert not services.blocks.manifests
    assert not services.blocks.journals
    data = disk_file("plain.qcow2")
    assert put(server, image, data, chunked=chunked) == (204, None)
    record = server.call("GET", f"/v2/images/{image}").json
    assert (record["status"], record["size"], record["virtual_size"]) == ("active", len(data), 1 << 20)
    assert server.call("GET", f"/v2/images/{image}/file").body == data


@pytest.mark.parametrize("name", DANGERS)
def test_what_is_not_safe_to_open_is_refused_under_every_name(server: RunningServer, name: str) -> None:
    for disk_format in (format_of(name), "raw"):
        if disk_format not in {"qed", "qcow"}:
            assert put(server, server.new_image(disk_format=disk_format), disk_file(name)) == (415, "format-refused")


@pytest.mark.parametrize("name", DISK_SIZES)
def test_a_disk_of_each_format_is_taken_and_its_size_told(server: RunningServer, name: str) -> None:
    image = server.new_image(disk_format=format_of(name))
    assert put(server, image, disk_file(name)) == (204, None)
    assert server.call("GET", f"/v2/images/{image}").json["virtual_size"] == DISK_SIZES[name]


def test_a_raw_disk_may_have_a_partition_table_or_be_encrypted(server: RunningServer) -> None:
    for data, size in ((boot_sector(), 128 << 10), (boot_sector(gpt=True), 128 << 10), (luks1(4096), 124 << 10)):
        image = server.new_image()
        assert put(server, image, data) == (204, None)
        assert server.call("GET", f"/v2/images/{image}").json["virtual_size"] == size


def test_a_container_is_not_looked_into(server: RunningServer) -> None:
    image = server.new_image(disk_format="qcow2", container_format="ova")
    assert put(server, image, b"\0" * 5000) == (204, None)
    assert server.call("GET", f"/v2/images/{image}").json["virtual_size"] is None


def test_a_raw_image_that_looks_like_something_else_is_taken_as_it_is_and_told_in_the_log(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    image, data = server.new_image(), disk_file("plain.qcow2")
    with caplog.at_level(logging.WARNING, "drystone.formats"):
        assert put(server, image, data) == (204, None)
    assert server.call("GET", f"/v2/images/{image}").json["virtual_size"] == len(data)
    assert f"image {image} is said to be raw" in caplog.text


def test_where_it_is_only_told_everything_is_taken(lenient: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    image = lenient.new_image(disk_format="qcow2")
    with caplog.at_level(logging.WARNING, "drystone.formats"):
        assert put(lenient, image, disk_file("backing.qcow2")) == (204, None)
    assert lenient.call("GET", f"/v2/images/{image}").json["virtual_size"] is None
    assert "backing file" in caplog.text
