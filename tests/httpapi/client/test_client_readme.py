"""The examples in the client's README run as they stand, but for the address."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.image_service import image_service
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[3] / "httpapi" / "client" / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def server(data_root: Path) -> Iterator[RunningServer]:
    with image_service(data_root, block_size=65536) as service, RunningServer(service.services) as running:
        yield running


def test_the_examples_run(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("vm.raw").write_bytes(os.urandom(300_000))
    assert len(EXAMPLES) == 2
    names: dict[str, Any] = {}
    for example in EXAMPLES:
        exec(example.replace("http://127.0.0.1:9292", f"http://127.0.0.1:{server.port}"), names)
    assert capsys.readouterr().out == "0\n"
    assert Path("copy.raw").read_bytes() == Path("vm.raw").read_bytes()
    first = names["pushed"].image.id
    second = asyncio.run(names["nightly"]("vm.raw"))
    assert server.call("GET", f"/v2/images/{second}").json["parent_image_ref"] == first
