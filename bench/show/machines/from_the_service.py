"""QEMU reads an increment where it lies: by a login, a cookie, a signed URL, and by no URL that is not good."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import re
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from bench import boot, tools
from bench.images import MIB, compressible_image
from bench.places import drystone
from bench.plain_files import PlainFiles
from bench.qemu_compare import IDENTICAL
from bench.show import client
from bench.show.registry import Figure, Room, check, holds, told
from bench.show.server import Server, environment

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from pathlib import Path

_LONG, _SHORT = 1024 * MIB, 24 * MIB
_USER, _PASSWORD = "ann", "a-password-of-the-show"
_SECONDS: Final = 300
"""After which QEMU gives a request up; a machine that is busy may need some."""
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to read an image: its name, and QEMU's options, with what they need before them."""

    name: str
    node: Mapping[str, object]
    objects: tuple[str, ...] = ()


@check(
    "machines",
    "from-the-service",
    "QEMU compares, converts and boots an increment from its URL; a URL that is not good is 403, and in no log.",
)
def from_the_service(room: Room) -> Generator[Figure, None, None]:
    if why := tools.missing("qemu-img", *boot.NEEDED):
        yield holds("QEMU and its HTTP driver are here", False, (why,))
        return
    disks, said = _versions(room.work, _SHORT if room.short else _LONG)
    with Server(room.work / "data", settings=_basic(room.work)) as server, Server(room.work / "other") as other:
        images = [_push(server, disk) for disk in disks]
        parents = [_parent(server, image) for image in images]
        yield holds("the image is an increment over an increment", parents[1:] == images[:2])
        seen: list[str] = []
        for way in _ways(server, images[2], room.work, seen):
            yield _compared(way, disks[2])
            yield _converted(way, disks[2], room.work)
        yield _boots(_signed(server, images[2], seen)["url"], said)
        yield from _rates(server, images[2], disks[2], seen)
        yield from _refused(server, other, images, room.work, seen)
        yield _in_no_log(server, other, seen)


def _versions(work: Path, size: int) -> tuple[Sequence[Path], str]:
    """Three versions of a disk that a machine boots from, a few blocks different each."""
    disks = [work / f"v{number}.raw" for number in (1, 2, 3)]
    compressible_image(disks[0], size, seed=91)
    said = boot.make_bootable(disks[0], seed=92)
    dice = random.Random(93)
    for before, after in itertools.pairwise(disks):
        subprocess.run(["cp", "--reflink=auto", before, after], check=True)
        with after.open("r+b") as file:
            for _ in range(20):
                # Between the sectors that the machine reads, which are as far apart as the disk is long.
                file.seek(dice.randrange(size // 65536) * 65536 + 4096)
                file.write(dice.randbytes(8192))
        said = boot.make_bootable(after, seed=92)
    return disks, said


def _basic(work: Path) -> dict[str, object]:
    file = work / "htpasswd"
    command = [*drystone(), "user", "add", _USER, "--file", str(file), "--project", "lab", "--password-stdin"]
    subprocess.run(command, input=_PASSWORD.encode(), check=True, capture_output=True, env=environment({}))
    return {"identity": "basic", "identity_file": file}


def _logged_in(url: str) -> str:
    return url.replace("://", f"://{_USER}:{_PASSWORD}@")


def _push(server: Server, disk: Path) -> str:
    return client.program(_logged_in(server.url), "push", str(disk), "--name", "disk", "--quiet").strip()


def _parent(server: Server, image: str) -> object:
    return json.loads(client.program(_logged_in(server.url), "show", image, "--json")).get("parent_image_ref")


def _signed(server: Server, image: str, seen: list[str], *more: str, login: bool = True) -> dict[str, Any]:
    """What `drystone url` tells; its tickets are noted, for the log to be looked at."""
    url = _logged_in(server.url) if login else server.url
    found: dict[str, Any] = json.loads(client.program(url, "url", image, "--json", *more))
    seen += [found["url"].split("/")[4], found["cookie"].partition("=")[2]]
    return found


def _ways(server: Server, image: str, work: Path, seen: list[str]) -> Iterable[Way]:
    signed = _signed(server, image, seen)
    secrets = {"cookie": signed["cookie"], "password": _PASSWORD}
    for name, text in secrets.items():
        (work / name).write_text(text)
    objects = {name: f"secret,id={name},file={work / name}" for name in secrets}
    file = client.file_of(server.url, image)
    login = {"url": file, "username": _USER, "password-secret": "password"}
    yield Way("basic, a user and a secret", login, (objects["password"],))
    yield Way("basic, in the URL", {"url": _logged_in(file)})
    yield Way("a cookie", {"url": file, "cookie-secret": "cookie"}, (objects["cookie"],))
    yield Way("a signed URL", {"url": signed["url"]})


def _img(verb: str, *arguments: str, objects: Sequence[str] = ()) -> str:
    """qemu-img; what it said."""
    words = [word for each in objects for word in ("--object", each)]
    command = [tools.find("qemu-img") or "qemu-img", verb, *words, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * _SECONDS)
    except subprocess.TimeoutExpired:
        return f"qemu-img {verb} did not end"
    return (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"


def _node(way: Way) -> str:
    return "json:" + json.dumps({"driver": "raw", "file": {"driver": "http", "timeout": _SECONDS, **way.node}})


def _compared(way: Way, disk: Path) -> Figure:
    answer = _img("compare", "-f", "raw", str(disk), _node(way), objects=way.objects)
    return _identical(f"qemu-img compare by {way.name}", answer, answer)


def _converted(way: Way, disk: Path, work: Path) -> Figure:
    copy = work / "copy.qcow2"
    copy.unlink(missing_ok=True)
    # One coroutine: with more the driver waits for ever now and then, whoever serves.
    answer = _img("convert", "-m", "1", "-O", "qcow2", _node(way), str(copy), objects=way.objects)
    same = _img("compare", "-f", "raw", "-F", "qcow2", str(disk), str(copy))
    return _identical(f"qemu-img convert by {way.name}", same, answer)


def _identical(what: str, same: str, said: str) -> Figure:
    ok = same == IDENTICAL
    return holds(f"{what}: identical", ok, () if ok else (said[-200:],))


def _boots(url: str, want: str) -> Figure:
    try:
        said = boot.boot(url)
    except boot.DidNotBoot as error:
        return holds("a machine boots from the signed URL", False, (str(error),))
    return holds("a machine boots from the signed URL", said == want, (f"it said {said[:20]}…",))


def _rates(server: Server, image: str, disk: Path, seen: list[str]) -> Generator[Figure, None, None]:
    """How fast QEMU copies, of what it takes from a file server that only sends a file."""
    size, out = disk.stat().st_size / MIB, disk.with_name("copy.raw")
    rates = {}
    with PlainFiles(disk.parent) as plain:
        for name, url in (("plain", f"{plain.url}/{disk.name}"), ("ours", _signed(server, image, seen)["url"])):
            began = time.monotonic()
            _img("convert", "-m", "1", "-f", "raw", "-O", "raw", url, str(out))
            rates[name] = size / (time.monotonic() - began)
    detail = f"a server that only sends files: {rates['plain']:.0f} MiB/s"
    yield told("qemu-img convert from the signed URL", f"{rates['ours']:.0f} MiB/s", (detail,))


def _refused(
    server: Server, other: Server, images: Sequence[str], work: Path, seen: list[str]
) -> Generator[Figure, None, None]:
    """Everything that a good URL is not: 403 to GET and to HEAD, each counted."""
    good = _signed(server, images[2], seen)
    path, cookie = urlsplit(good["url"]).path, good["cookie"]
    brief = _signed(server, images[2], seen, "--expires", "1s")
    foreign = _foreign(other, work, seen)
    parent = _signed(server, images[1], seen)
    time.sleep(1.5)
    file, own = f"/v2/images/{images[2]}/file", f"/v2/images/{images[1]}/file"
    yield _statuses(server, "the good ones are read", [(path, None), (file, cookie)], wanted=(200,))
    yield _statuses(server, "expired", [(urlsplit(brief["url"]).path, None), (file, brief["cookie"])])
    altered = [(each, None) for each in _altered(path, len("/signed/"))]
    yield _statuses(server, "a character of the ticket or the name altered", altered)
    cookies = [(file, each) for each in _altered(cookie, len("drystone="))]
    yield _statuses(server, "a character of the cookie altered", cookies)
    yield _statuses(server, "another service's", [(foreign, None), (file, f"drystone={foreign.split('/')[2]}")])
    others = [(file, parent["cookie"]), (own, cookie), (path.replace("disk", "v3"), None)]
    yield _statuses(server, "another image's, or another name", others)
    yield _statuses(server, "a URL's ticket as a cookie, and a cookie's in a URL", _crossed(path, cookie, file))
    deactivated = [(urlsplit(parent["url"]).path, None), (own, parent["cookie"])]
    client.program(_logged_in(server.url), "deactivate", images[1])
    yield _statuses(server, "a deactivated image's", deactivated)
    client.program(_logged_in(server.url), "reactivate", images[1])
    yield _statuses(server, "reactivated, it is read again", deactivated, wanted=(200,))
    client.program(_logged_in(server.url), "rm", "--yes", images[1])
    yield _statuses(server, "a deleted image's", deactivated)
    keys = [*drystone(), "admin", "url-keys"]
    for key in client.run([*keys, "ls", "--data", str(server.data)]).splitlines():
        client.run([*keys, "rm", key.split("\t")[0], "--data", str(server.data)])
    yield _statuses(server, "a removed key's", [(path, None), (file, cookie)])
    fresh = _signed(server, images[2], seen)
    new = [(urlsplit(fresh["url"]).path, None), (file, fresh["cookie"])]
    yield _statuses(server, "a new key signs", new, wanted=(200,))


def _foreign(other: Server, work: Path, seen: list[str]) -> str:
    disk = work / "other.raw"
    disk.write_bytes(os.urandom(65536))
    image = client.program(other.url, "push", str(disk), "--name", "disk", "--quiet").strip()
    return urlsplit(str(_signed(other, image, seen, login=False)["url"])).path


def _altered(text: str, start: int) -> Iterable[str]:
    """The text with another character at each place from `start` on; what separates its parts stays."""
    dice = random.Random(94)
    for at in range(start, len(text)):
        if text[at] != "/":
            yield text[:at] + dice.choice(_LETTERS.replace(text[at], "")) + text[at + 1 :]


def _crossed(path: str, cookie: str, file: str) -> Sequence[tuple[str, str | None]]:
    _, _, ticket, name = path.split("/")
    return [(file, f"drystone={ticket}"), (f"/signed/{cookie.partition('=')[2]}/{name}", None)]


def _statuses(
    server: Server, what: str, requests: Iterable[tuple[str, str | None]], wanted: tuple[int, ...] = (403,)
) -> Figure:
    """Each path, with its cookie if it has one, by GET and HEAD: how many were answered so, of how many."""
    counted: dict[int, int] = {}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        for path, cookie in requests:
            for verb in ("GET", "HEAD"):
                headers = {"Range": "bytes=0-511"} if cookie is None else {"Range": "bytes=0-511", "Cookie": cookie}
                connection.request(verb, path, headers=headers)
                answer = connection.getresponse()
                answer.read()
                status = 200 if answer.status == 206 else answer.status
                counted[status] = counted.get(status, 0) + 1
    many = sum(counted.values())
    right = sum(counted.get(status, 0) for status in wanted)
    found = ", ".join(f"{count} × {status}" for status, count in sorted(counted.items()))
    return Figure(f"{what}: answered {wanted[0]}", str(right), str(many), right == many > 0, (found,))


def _in_no_log(server: Server, other: Server, seen: Sequence[str]) -> Figure:
    """No ticket in either log, nor its last characters, which are most of what makes it good."""
    text = server.log.read_text(errors="replace") + other.log.read_text(errors="replace")
    found = sum(ticket in text or ticket[-20:] in text for ticket in seen)
    lines = len(re.findall(r"/signed/[0-9a-f]{12}\.", text))
    detail = f"{len(seen)} tickets looked for; {lines} lines tell a key and an image in their place"
    return Figure("tickets that stand in the servers' logs", str(found), "0", found == 0 < lines, (detail,))
