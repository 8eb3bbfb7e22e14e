from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from blockstore import listing
from httpapi.cli.root import FAILURE, OK, run
from tests.kit.authority import Authority
from tests.kit.filled_store import contents, flip, looked_after, read
from tests.kit.image_service import image_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.kit.authority import Certificate

    Admin = Callable[..., tuple[int, str, str]]

IMAGES = contents(2, 300_000)


@pytest.fixture
def admin(filled: tuple[Path, list[str]], capfd: pytest.CaptureFixture[str]) -> Admin:
    """Runs a verb on the data; gives exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(["admin", *arguments, "--data", str(filled[0])])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def facts(out: str) -> dict[str, str]:
    return dict(line.split("\t") for line in out.splitlines() if line.count("\t") == 1)


def harm(root: Path) -> None:
    """Damage in every pack; how the images read is looked at by the tests."""
    for listed in listing.packs(root):
        flip(listed.path, 5000 * 8)
        flip(listed.path, 150_000 * 8) if listed.size > 160_000 else None


def readable(root: Path, ids: list[str]) -> list[bool]:
    def whole(number: int, image_id: str) -> bool:
        from blockstore.errors import BlockstoreError

        try:
            return read(root, image_id) == IMAGES[number]
        except BlockstoreError:
            return False

    return [whole(number, image_id) for number, image_id in enumerate(ids)]


def test_scrub_says_what_it_found_and_whom_it_harms(filled: tuple[Path, list[str]], admin: Admin) -> None:
    root, ids = filled
    code, out, _ = admin("scrub")
    assert code == OK
    told = facts(out)
    assert told["verdict"] == "clean"
    assert told["images harmed"] == "0"
    manifest = next(listing.manifests(root)).path
    flip(manifest, 150 * 8)
    code, out, _ = admin("scrub")
    assert code == OK, "it is mended"
    assert "written anew from the other copy" in out
    assert facts(out)["manifest files mended"] == "1"
    harm(root)
    code, out, err = admin("scrub", "--rate", "1GiB", "--threads", "2")
    assert code == FAILURE
    (advice,) = err.splitlines()
    assert "admin repair --from" in advice, "what is on standard output is not told twice"
    assert facts(out)["verdict"] == "damaged"
    for number, image_id in enumerate(ids):
        assert f"{image_id}\timage {number}\tactive\t" in out
    code, out, _ = admin("scrub", "--json")
    document = json.loads(out)
    assert not document["clean"]
    assert {image["name"] for image in document["harmed"]} == {"image 0", "image 1"}
    assert document["bad_blocks"]
    code, out, _ = admin("verify")
    assert (code, facts(out)["images harmed"]) == (FAILURE, "2"), "headers are right, but what is known is known"
    code, out, _ = admin("stats")
    told = facts(out)
    assert told["packs never verified"] == "0"
    assert told["images harmed"] == "2"
    assert told["packs verified since"] <= told["last scrub ended"]


def test_repair_from_a_file_heals_every_image_that_has_the_blocks(
    filled: tuple[Path, list[str]], admin: Admin, tmp_path: Path
) -> None:
    root, ids = filled
    code, out, _ = admin("repair", "--from", str(root / "format"))
    assert code == OK
    assert facts(out)["blocks healed"] == "0", "nothing is wrong"
    harm(root)
    admin("scrub")
    assert readable(root, ids) == [False, False]
    source = tmp_path / "one.raw"
    source.write_bytes(IMAGES[0])
    code, out, _ = admin("repair", "--from", str(source))
    assert code == FAILURE
    told = facts(out)
    assert int(told["blocks healed"]) > 0
    assert told["images whole again"] == told["images still harmed"] == "1"
    assert readable(root, ids) == [True, False]
    # The next version of an image is as good: its bytes go on where the image ended.
    source.write_bytes(IMAGES[1] + b"more" * 5000)
    code, out, _ = admin("repair", "--from", str(source), "--json")
    document = json.loads(out)
    assert code == OK
    assert document["left"] == 0
    assert [image["id"] for image in document["whole"]] == [ids[1]]
    assert readable(root, ids) == [True, True]
    assert admin("scrub")[0] == OK


def test_repair_with_other_bytes_changes_nothing(filled: tuple[Path, list[str]], admin: Admin, tmp_path: Path) -> None:
    root, ids = filled
    harm(root)
    admin("scrub")
    source = tmp_path / "other.raw"
    source.write_bytes(bytes(1_000_000) + b"other" * 100_000)
    code, out, _ = admin("repair", "--from", str(source))
    assert code == FAILURE
    assert facts(out)["blocks healed"] == "0"
    assert facts(out)["images still harmed"] == "2"
    assert readable(root, ids) == [False, False]


def test_repair_from_an_image_that_is_cut_otherwise(filled: tuple[Path, list[str]], admin: Admin) -> None:
    import asyncio

    root, ids = filled

    async def push() -> None:
        with image_service(root) as service:
            for number, data in enumerate(IMAGES):
                image_id = await service.new(f"copy {number}", cutting="fixed:16KiB")
                await service.put(image_id, data)

    before = set(listing_names(root))
    asyncio.run(push())
    for listed in listing.packs(root):
        if listed.name in before:
            flip(listed.path, 5000 * 8)
    admin("scrub")
    assert False in readable(root, ids)
    code, _, err = admin("repair", "--from", "nobody")
    assert code == FAILURE
    assert "is no file, no address and no image with data" in err
    for number in range(2):
        admin("repair", "--from", f"copy {number}")
    assert readable(root, ids) == [True, True]
    assert admin("scrub", "--quiet")[0] == OK


def listing_names(root: Path) -> list[str]:
    return [listed.name for listed in listing.packs(root)]


def test_an_image_that_may_be_several_is_refused(filled: tuple[Path, list[str]], admin: Admin) -> None:
    import asyncio

    root, _ = filled

    async def push() -> None:
        with image_service(root) as service:
            await service.pushed(b"one", name="twin")
            await service.pushed(b"two", name="twin")

    asyncio.run(push())
    code, _, err = admin("repair", "--from", "twin")
    assert code == FAILURE
    assert "one of several images" in err


class Source(BaseHTTPRequestHandler):
    """A file that can be fetched in parts; some answers break off."""

    data = b""
    breaks = 0
    asked: list[str]

    def do_GET(self) -> None:
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.asked.append(f"{self.path} {start}")
        if self.path == "/gone":
            self.send_error(404)
            return
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        part = self.data[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
        self.send_header("Content-Length", str(len(part)))
        if self.path != "/without-a-tag":
            self.send_header("ETag", '"one"')
        self.end_headers()
        if type(self).breaks and self.path != "/whole":
            type(self).breaks -= 1
            part = part[:100_000]
            self.close_connection = True
        self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@contextmanager
def source_of(data: bytes, *, breaks: int = 0, secure: Certificate | None = None) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Served", (Source,), {"data": data, "breaks": breaks, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if secure is not None:
        server.socket = secure.context().wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if secure else ''}://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_repair_from_an_address_goes_on_where_the_connection_broke(
    filled: tuple[Path, list[str]], admin: Admin
) -> None:
    root, ids = filled
    harm(root)
    admin("scrub")
    both = IMAGES[1] + bytes(-len(IMAGES[1]) % 4096) + IMAGES[0]
    with source_of(both, breaks=2) as (address, asked):
        admin("repair", "--from", f"{address}/two.raw?token=secret")
    assert [line.split()[1] for line in asked] == ["0", "100000", "200000"]
    assert readable(root, ids)[1]
    with looked_after(root) as (store, _):
        assert store.index.size().bad <= 1, "what is left is the end of the other image, which lies in no such place"


def test_what_a_certificate_of_an_own_authority_is_advised_to_need_does(
    filled: tuple[Path, list[str]],
    admin: Admin,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, ids = filled
    harm(root)
    admin("scrub")
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with source_of(IMAGES[1], secure=authority.sign()) as (address, _):
        code, _, err = admin("repair", "--from", f"{address}/two.raw")
        assert code == FAILURE
        assert "--cacert FILE or DRYSTONE_CACERT" in err
        monkeypatch.setenv("DRYSTONE_CACERT", str(authority.path))
        admin("repair", "--from", f"{address}/two.raw")
    assert readable(root, ids)[1]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/gone", "answers 404"),
        ("/without-a-tag", "the connection broke"),
        ("/elsewhere", "leads to where nothing can be read"),
        ("@127.0.0.1:1/x", "^drystone: cannot reach http://127.0.0.1:1/x .*: nothing was read from there$"),
    ],
)
def test_an_address_that_does_not_do_is_told(filled: tuple[Path, list[str]], admin: Admin, path: str, why: str) -> None:
    import re

    root, _ = filled
    harm(root)
    admin("scrub")
    with source_of(IMAGES[0], breaks=1) as (address, _):
        code, _, err = admin("repair", "--from", f"{address}{path}")
    assert code == FAILURE
    assert re.search(why, err), err


def test_an_address_of_more_than_an_image_may_have_is_cut_off(
    filled: tuple[Path, list[str]], admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = filled
    harm(root)
    admin("scrub")
    monkeypatch.setenv("DRYSTONE_IMAGE_SIZE_CAP", "100000")
    with source_of(bytes(500_000)) as (address, _):
        code, _, err = admin("repair", "--from", f"{address}/whole")
    assert code == FAILURE
    assert "has more than 100000 bytes" in err


@pytest.mark.parametrize("address", ["ftp://example.org/x", "http://", "file:///etc/passwd"])
def test_what_is_no_address_is_refused_before_anything_is_asked(
    filled: tuple[Path, list[str]], admin: Admin, address: str
) -> None:
    harm(filled[0])
    admin("scrub")
    code, _, err = admin("repair", "--from", address)
    assert code == FAILURE
    assert "is no address to read from" in err
