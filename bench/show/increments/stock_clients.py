"""Clients that know nothing of increments, on children of a real disk: each has the full disk, and its check holds."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from bench import tools
from bench.images import REAL, SMALL, real_pair
from bench.qemu_compare import DIFFERENT, IDENTICAL, compare
from bench.show import client
from bench.show.registry import Figure, Room, at_least, check, holds, told
from bench.show.server import Server
from bench.show.stock import openstack, sdk

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from bench.images import Pair

HASHED_WITHIN = 120.0
_RANGES = 10  # fewer requests for a disk were no reading by ranges

# A download that the SDK checks itself; and, with a hash to expect, the same one that has to fail.
_DOWNLOAD = """
import sys
import openstack

url, image, target, *expected = sys.argv[1:]
connection = openstack.connect(auth_type="none", image_endpoint_override=url)
image = connection.image.get_image(image)
if expected:
    fetch = type(image).fetch

    def with_another_hash(self, *given, **named):
        found = fetch(self, *given, **named)
        found.hash_value = expected[0]
        return found

    type(image).fetch = with_another_hash
try:
    connection.image.download_image(image, output=target)
except openstack.exceptions.SDKException as refusal:
    print("refused", refusal)
else:
    print("downloaded", image.hash_algo, image.hash_value)
"""


@check(
    "increments", "stock-clients", "openstack image save, openstacksdk's check and qemu-img agree on a child's bytes."
)
def stock_clients(room: Room) -> Generator[Figure, None, None]:
    pair = real_pair(room.images, SMALL if room.short else REAL)
    yield told("the real pair", f"{pair.size / 1e6:.0f} MB", (str(pair),))
    data = room.work / "data"
    # Without jobs the hashes of what was pushed stay away, as they do for a while on any server.
    with Server(data, settings={"jobs": 0}) as server:
        children, parent = _children(server.url, pair, room.work / "home")
        pushed = children["pushed"]
        hashless = client.call(f"{server.url}/v2/images/{pushed}")["os_hash_value"] is None
        yield holds("what was pushed has no hash until a job adds it", hashless)
        yield _saved("until then", server.url, pushed, pair, room.work)
    with Server(data) as server:
        # Neither needs its parent.
        client.delete(server.url, parent)
        yield _hashes_come(server.url, pushed, pair)
        for way, child in children.items():
            yield _saved(way, server.url, child, pair, room.work)
            yield from _verified(way, server.url, child, pair, room.work)
            yield from _compared(way, server, child, pair)
        yield _refused(server.url, pushed, room.work)


def _children(url: str, pair: Pair, home: Path) -> tuple[dict[str, str], str]:
    """v2 over v1 in both ways, by the way's name, and v1's id."""
    parent = client.program(url, "push", str(pair.v1), "--name", "disk", "--quiet", home=home).strip()
    pushed = client.program(url, "push", str(pair.v2), "--name", "disk", "--quiet", home=home).strip()
    form = {"name": "plain", "disk_format": "raw", "container_format": "bare", "parent_image_ref": parent}
    plain = client.call(f"{url}/v2/images", "POST", form)["id"]
    client.run(client.put_command(url, plain, pair.v2))
    children = {"pushed": pushed, "PUT": str(plain)}
    for way, child in children.items():
        found = client.call(f"{url}/v2/images/{child}").get("parent_image_ref")
        if found != parent:
            raise RuntimeError(f"{child} by {way} is a child of {found}, not of {parent}")
    return children, parent


def _hashes_come(url: str, pushed: str, pair: Pair) -> Figure:
    """The hashes of v2, counted here, are those of the child before the time is up."""
    with pair.v2.open("rb") as file:
        expected = hashlib.file_digest(file, "sha512").hexdigest()
    with pair.v2.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    began = time.monotonic()
    while (found := client.call(f"{url}/v2/images/{pushed}"))["os_hash_value"] is None:
        if time.monotonic() - began > HASHED_WITHIN:
            break
        time.sleep(0.05)
    right = (found["os_hash_algo"], found["os_hash_value"], found["checksum"]) == ("sha512", expected, md5)
    return holds(
        "the hashes that a job adds are those of the file", right, (f"sha512 {str(found['os_hash_value'])[:16]}…",)
    )


def _saved(way: str, url: str, child: str, pair: Pair, work: Path) -> Figure:
    target = work / "saved.img"
    openstack(url, "save", "--file", str(target), child)
    same = client.same(pair.v2, target)
    target.unlink()
    return holds(f"{way}: openstack image save has the file's bytes", same)


def _verified(way: str, url: str, child: str, pair: Pair, work: Path) -> Generator[Figure, None, None]:
    target = work / "verified.img"
    said = sdk(_DOWNLOAD, url, child, str(target)).strip()
    same = client.same(pair.v2, target)
    target.unlink()
    verdict = said.startswith("downloaded sha512 ")
    yield holds(f"{way}: openstacksdk's download is verified and right", verdict and same, (said[:60],))


def _refused(url: str, child: str, work: Path) -> Figure:
    """That openstacksdk compares at all."""
    said = sdk(_DOWNLOAD, url, child, str(work / "refused.img"), "0" * 128).strip()
    refused = said.startswith("refused") and "checksum mismatch (sha512)" in said
    return holds("pushed: openstacksdk refuses it where it expects another hash", refused, (said[:75],))


def _compared(way: str, server: Server, child: str, pair: Pair) -> Generator[Figure, None, None]:
    what = f"{way}: qemu-img compare over HTTP"
    if why := tools.missing("qemu-img", tools.QEMU_CURL):
        yield Figure(what, "not run", "identical", False, (why,))
        return
    before = _ranges(server)
    began, said = time.monotonic(), compare(str(pair.v2), client.file_of(server.url, child))
    yield holds(f"{what} says identical", said == IDENTICAL, (f"{said} {time.monotonic() - began:.1f} s",))
    yield at_least(f"{what} reads by ranges", _ranges(server) - before, _RANGES, "ranges")
    said = compare(str(pair.v1), client.file_of(server.url, child))
    yield holds(f"{what} says the parent is another", said.startswith(DIFFERENT), (said,))


def _ranges(server: Server) -> int:
    """How many requests the server has answered with a part of an image."""
    return sum(" 206 " in line for line in server.log.read_text(errors="replace").splitlines())
