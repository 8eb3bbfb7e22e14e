"""`drystone url`: a URL or a cookie that reads an image, and what QEMU is told."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.kit.memory_keys import MemoryKeys
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.usecases.services import Services
    from tests.httpapi.cli.conftest import Drystone

OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def server(services: Services) -> Iterator[RunningServer]:
    with RunningServer(replace(services, url_keys=MemoryKeys(), ticket_longest=100_000.0)) as running:
        yield running


def image(server: RunningServer, disk_format: str = "raw") -> str:
    image_id = server.new_image(name="disk", disk_format=disk_format)
    assert server.call("PUT", f"/v2/images/{image_id}/file", b"bytes", OCTETS).status == 204
    return image_id


def test_the_url_is_all_that_is_printed_and_reads_the_image(server: RunningServer, drystone: Drystone) -> None:
    image(server)
    code, out, err = drystone("url", "disk", "--expires", "10m")
    assert (code, out.count("\n"), "good until" in err) == (0, 1, True)
    assert server.call("GET", "/" + out.strip().split("/", 3)[3]).body == b"bytes"
    assert drystone("url", "disk", "--quiet")[2] == ""


def test_the_cookie_reads_it_too_and_json_has_both(server: RunningServer, drystone: Drystone) -> None:
    image_id = image(server)
    cookie = drystone("url", "disk", "--cookie", "-q")[1].strip()
    assert server.call("GET", f"/v2/images/{image_id}/file", headers={"Cookie": cookie}).body == b"bytes"
    told = json.loads(drystone("url", "disk", "--json")[1])
    assert told.keys() == {"image", "disk_format", "url", "cookie", "cookie_url", "expires_at", "qemu"}
    assert (told["image"], told["disk_format"]) == (image_id, "raw")


@pytest.mark.parametrize(("disk_format", "driver"), [("raw", "raw"), ("vhd", "vpc"), ("vdi", "vdi"), ("iso", "raw")])
def test_qemu_is_told_a_pinned_format(server: RunningServer, drystone: Drystone, disk_format: str, driver: str) -> None:
    image(server, disk_format)
    _, out, _ = drystone("url", "disk", "--qemu")
    convert, create, drive, blockdev = map(shlex.split, out.splitlines())
    assert convert[:6] == ["qemu-img", "convert", "-m", "1", "-f", driver]
    assert create[4:6] == ["-F", driver]
    for option in (drive[1], blockdev[1]):
        assert f"driver={driver},file.driver=http,file.url=http://" in option
        assert "/signed/dsu1" in option


@pytest.mark.parametrize("disk_format", ["qcow2", "vmdk"])
def test_qemu_is_told_to_open_nothing_that_an_image_names(
    server: RunningServer, drystone: Drystone, disk_format: str
) -> None:
    image(server, disk_format)
    _, out, _ = drystone("url", "disk", "--qemu")
    convert, create, drive, blockdev = map(shlex.split, out.splitlines())
    assert (convert[:4], convert[5:]) == (["qemu-img", "convert", "-m", "1"], ["-O", "qcow2", "copy.qcow2"])
    assert create[4:7] == ["-F", disk_format, "-b"]
    names = [convert[4], create[7], drive[1].removeprefix("if=virtio,snapshot=on,file=").replace(",,", ",")]
    for node in (*(json.loads(each.removeprefix("json:")) for each in names), json.loads(blockdev[1])):
        assert (node["driver"], node["backing"], node["file"]["driver"]) == (disk_format, None, "http")
        assert "/signed/dsu1" in node["file"]["url"]


@pytest.mark.parametrize("cookie", [False, True])
def test_qemu_reads_an_image_so_and_not_what_its_header_names(
    server: RunningServer, drystone: Drystone, tmp_path: Path, *, cookie: bool
) -> None:
    secret, disk = tmp_path / "secret", tmp_path / "disk.qcow2"
    secret.write_bytes(b"s" * 131072)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, disk], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 65536", disk], check=True)
    image_id = server.new_image(name="disk", disk_format="qcow2")
    assert server.call("PUT", f"/v2/images/{image_id}/file", disk.read_bytes(), OCTETS).status == 204
    how = ["--cookie-file", str(tmp_path / "a,b 'cookie'")] if cookie else []
    lines = drystone("url", "disk", "--qemu", *how)[1].splitlines()
    assert [each.split()[:2] for each in lines if "qemu-img" in each] == [
        ["qemu-img", verb] for verb in (["convert"] if cookie else ["convert", "create"])
    ]
    want = bytes([7]) * 65536 + bytes(65536)
    for line, made in zip(lines, ["copy.qcow2", "overlay.qcow2"], strict=False):
        if line.startswith("qemu-img"):
            subprocess.run(line, shell=True, cwd=tmp_path, check=True, capture_output=True, timeout=30)
            raw = ["qemu-img", "convert", "-m", "1", "-f", "qcow2", "-O", "raw", made, "raw"]
            subprocess.run(raw, cwd=tmp_path, check=True, timeout=30)
            assert (tmp_path / "raw").read_bytes() == want
    for options in lines[-2:]:
        words = "qemu-system-x86_64 -machine none -nodefaults -display none -S -monitor stdio"
        told = subprocess.run(
            f"(echo info block -n; echo quit) | {words} {options.replace('if=virtio', 'if=none')}",
            shell=True,
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert "http://127.0.0.1" in told.stdout, told
        assert str(secret) not in told.stdout


def test_with_a_cookie_in_a_file_no_secret_stands_on_a_command_line(
    server: RunningServer, drystone: Drystone, tmp_path: Path
) -> None:
    image_id = image(server)
    file = tmp_path / "a,b cookie"
    # Whoever can read what is there, or what it leads to, must not read the new one.
    (tmp_path / "others").write_text("old")
    (tmp_path / "others").chmod(0o644)
    file.symlink_to("others")
    _, out, _ = drystone("url", "disk", "--qemu", "--cookie-file", str(file))
    assert "dsu1" not in out
    for line in out.splitlines():
        words = shlex.split(line)
        assert f"secret,id=drystone,file={tmp_path}/a,,b cookie" in words
        assert any(f"/v2/images/{image_id}/file,file.cookie-secret=drystone" in word for word in words)
    # QEMU sends what is in the file as it is.
    assert (file.read_text()[:9], file.read_text()[-1:].isspace()) == ("drystone=", False)
    assert file.lstat().st_mode & 0o777 == 0o600
    assert (tmp_path / "others").read_text() == "old"
    read = server.call("GET", f"/v2/images/{image_id}/file", headers={"Cookie": file.read_text()})
    assert read.body == b"bytes"
    assert drystone("url", "disk", "--qemu", "--cookie")[0] == 2


def test_what_cannot_be_signed_is_told(server: RunningServer, drystone: Drystone, services: Services) -> None:
    image(server)
    code, _, err = drystone("url", "disk", "--expires", "30d")
    assert (code, "from 1 to 100000" in err) == (1, True)
    assert drystone("url", "disk", "--expires", "soon")[0] == 2
    assert drystone("url", "nothing")[0] == 1
    queued = server.new_image(name="queued")
    code, _, err = drystone("url", queued)
    assert (code, "queued" in err) == (1, True)
