"""`drystone convert`, against a running server whose converter is the double."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.jobs.rooms import Rooms
from catalog.model.importing import ImportRules
from tests.httpapi.cli.test_imports import DATA, at_work, filled
from tests.kit.played_converter import PlayedConverter
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.usecases.services import Services
    from tests.httpapi.cli.conftest import Drystone


@pytest.fixture
def converting(services: Services, tmp_path: Path) -> Iterator[RunningServer]:
    blocks = services.blocks
    rooms = Rooms(tmp_path / "work", store=blocks.store, process=blocks.process, is_alive=blocks.is_alive)
    with RunningServer(replace(services, converter=PlayedConverter(), rooms=rooms)) as server:
        yield server


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("httpapi.client.imports.follow.__defaults__", (0.02,))


def test_an_image_is_converted_and_the_new_one_named(converting: RunningServer, drystone: Drystone) -> None:
    image = filled(converting)
    endpoint = ("--endpoint", f"http://127.0.0.1:{converting.port}")
    with at_work(converting):
        code, out, _ = drystone("convert", image, "--to", "qcow2", "--name", "for-others", *endpoint)
    assert code == 0
    made = converting.call("GET", f"/v2/images/{out.strip()}").json
    assert (made["status"], made["disk_format"], made["name"]) == ("active", "qcow2", "for-others")
    assert made["size"] == len(DATA) + len(b"<qcow2>")
    code, out, _ = drystone("convert", image, "--to", "vmdk", "--no-wait", "--json", *endpoint)
    assert (code, json.loads(out)["type"]) == (0, "convert")


def test_what_a_service_converts_as_it_is_imported_has_other_bytes_than_were_sent(
    converting: RunningServer, services: Services, drystone: Drystone, tmp_path: Path
) -> None:
    (tmp_path / "disk.raw").write_bytes(DATA)
    converter, rooms = converting.services.converter, converting.services.rooms
    rules = ImportRules(convert="qcow2")
    with RunningServer(replace(services, converter=converter, rooms=rooms, import_rules=rules)) as server:
        endpoint = ("--endpoint", f"http://127.0.0.1:{server.port}")
        with at_work(server):
            code, out, err = drystone("import", str(tmp_path / "disk.raw"), "--disk-format", "raw", *endpoint)
        assert (code, err) == (0, "")
        assert server.call("GET", f"/v2/images/{out.strip()}").json["disk_format"] == "qcow2"


def test_a_conversion_that_fails_says_why_and_leaves_no_image(converting: RunningServer, drystone: Drystone) -> None:
    image = converting.new_image(disk_format="qcow2")
    octets = {"Content-Type": "application/octet-stream"}
    assert converting.call("PUT", f"/v2/images/{image}/file", DATA, octets).status == 204
    with at_work(converting):
        code, out, err = drystone("convert", image, "--to", "raw", "--endpoint", f"http://127.0.0.1:{converting.port}")
    assert (code, out) == (1, "")
    assert "The file is said to be qcow2, and is not." in err
    assert [each["id"] for each in converting.call("GET", "/v2/images").json["images"]] == [image]


def test_what_makes_no_sense_is_refused_before_anybody_is_asked(drystone: Drystone) -> None:
    for words in (("--to", "floppy"), (), ("--to", "vmdk", "--compressed")):
        code, _, err = drystone("convert", "debian", *words, "--endpoint", "http://127.0.0.1:1")
        assert code == 2, err
