"""The stock `openstack` client and openstacksdk, from an environment of their own, against a real server."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.clients
BIN = Path(__file__).parents[2] / ".clients" / "bin"
DATA = random.Random(1).randbytes(3_000_000) + bytes(2_000_000) + b"odd tail"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    with ServeProcess(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(DATA)
    return path


def openstack(server: ServeProcess, *words: str | Path) -> str:
    run = started(server, *words)
    assert run.returncode == 0, run.stderr
    return run.stdout


def refused(server: ServeProcess, *words: str | Path) -> str:
    """What it says instead."""
    run = started(server, *words)
    assert run.returncode, run.stdout
    return run.stderr


def started(server: ServeProcess, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [
        BIN / "openstack",
        "--os-auth-type",
        "none",
        "--os-endpoint",
        f"http://127.0.0.1:{server.port}/v2",
        *words,
    ]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=clean)


def test_openstack_creates_lists_shows_saves_and_deletes(server: ServeProcess, disk: Path, tmp_path: Path) -> None:
    create: list[str | Path] = ["image", "create", "--disk-format", "raw", "--container-format", "bare", "--file", disk]
    extras = ["--property", "hw:a.b=x y", "--property", "empty=", "--tag", "t1"]
    made = json.loads(openstack(server, *create, *extras, "stock", "-f", "json"))
    assert made["status"] == "active"
    assert made["size"] == len(DATA)
    listed = json.loads(openstack(server, "image", "list", "--name", "stock", "-f", "json"))
    assert [image["ID"] for image in listed] == [made["id"]]
    assert json.loads(openstack(server, "image", "list", "--tag", "t1", "--hidden", "-f", "json")) == []
    shown = json.loads(openstack(server, "image", "show", "stock", "-f", "json"))
    assert shown["properties"]["hw:a.b"] == "x y"
    assert not shown["properties"]["empty"]
    assert shown["tags"] == ["t1"]
    back = tmp_path / "back.raw"
    openstack(server, "image", "save", "--file", back, "stock")
    assert back.read_bytes() == DATA
    openstack(server, "image", "delete", "stock")
    assert json.loads(openstack(server, "image", "list", "--name", "stock", "-f", "json")) == []
    assert made["id"] in server.call("GET", "/v2/deleted")[1].decode(), "it could be brought back"
    for words in (("show", made["id"]), ("save", "--file", tmp_path / "gone.raw", made["id"])):
        assert "No Image found" in refused(server, "image", *words)
    assert server.call("POST", f"/v2/images/{made['id']}/actions/undelete")[0] == 200
    openstack(server, "image", "save", "--file", back, "stock")
    assert back.read_bytes() == DATA
    openstack(server, "image", "delete", "stock")


def test_openstack_makes_a_child_and_has_it_as_a_full_disk(server: ServeProcess, disk: Path, tmp_path: Path) -> None:
    create: list[str | Path] = ["image", "create", "--disk-format", "raw", "--container-format", "bare"]
    parent = json.loads(openstack(server, *create, "--file", disk, "parent", "-f", "json"))["id"]
    disk.write_bytes(b"changed" + DATA[7:] + b"grown")
    named = ["--property", f"parent_image_ref={parent}"]
    child = json.loads(openstack(server, *create, *named, "--file", disk, "child", "-f", "json"))
    assert (child["status"], child["size"]) == ("active", len(DATA) + 5)
    assert child["properties"]["parent_image_ref"] == parent
    openstack(server, "image", "delete", "parent")
    back = tmp_path / "back.raw"
    openstack(server, "image", "save", "--file", back, "child")
    assert back.read_bytes() == disk.read_bytes()
    openstack(server, "image", "delete", "child")


SDK = """
import hashlib, io, sys
import openstack
conn = openstack.connect(auth_type="none", image_endpoint_override=sys.argv[1])
path = sys.argv[2]
form = {"disk_format": "raw", "container_format": "bare"}
image = conn.image.create_image(
    "sdk", filename=path, validate_checksum=True, tags=["a"], hw_disk_bus="scsi", **form
)
image = conn.image.get_image(image.id)
assert image.status == "active", image
data = open(path, "rb").read()
assert image.hash_algo == "sha512" and image.hash_value == hashlib.sha512(data).hexdigest()
out = io.BytesIO()
conn.image.download_image(image, output=out)
assert out.getvalue() == data
assert [i.id for i in conn.image.images(name="sdk", tag=["a"])] == [image.id]
names = {conn.image.create_image(f"page{n}", allow_duplicates=True, **form).name for n in range(5)}
assert names <= {i.name for i in conn.image.images(limit=2)}
assert conn.image.find_image("sdk").id == image.id
conn.image.delete_image(image.id)
assert conn.image.find_image("sdk") is None
try:
    conn.image.get_image(image.id)
except openstack.exceptions.NotFoundException:
    pass
else:
    raise AssertionError("a deleted image is told")
print("ok")
"""


def test_openstacksdk_uploads_downloads_and_verifies(server: ServeProcess, disk: Path) -> None:
    run = subprocess.run(
        [BIN / "python", "-W", "ignore", "-c", SDK, f"http://127.0.0.1:{server.port}/v2", disk],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "ok"
