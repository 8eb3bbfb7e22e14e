"""What others must not have this service ask: every way of writing, naming or hiding an address, at a running server.

The server's names are played, as an attacker would run a DNS server; a trap listens where a request that escapes the
rules would arrive. In the place of the internet stands another loopback server that the settings allow by its name.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bench.show import client
from bench.show.registry import Figure, Room, at_most, check, holds, told
from bench.show.server import Server
from tests.kit.broken_web import BrokenWeb, Served

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_ENDS_WITHIN: Final = 30.0

# Name → what its DNS server answers, one after another; the last answer stays.
NAMES: Final = {
    "outside.example": [["127.0.0.1"]],
    "inside.example": [["10.0.0.5"]],
    "metadata.example": [["169.254.169.254"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "mixed.example": [["93.184.216.34", "127.0.0.1"]],
    "rebound.example": [["93.184.216.34"], ["127.0.0.1"]],
    "led.example": [["127.0.0.1"]],
}
_PROGRAM: Final = """
import sys
from catalog.stores.outgoing import names
from tests.kit.played_names import PlayedNames
from bench.show.locations.ssrf import NAMES
played = PlayedNames()
played.answers = {name: list(answers) for name, answers in NAMES.items()}
names.SystemNames.addresses = lambda self, name: played.addresses(name)
from httpapi.cli.root import main
sys.exit(main())
"""

# A URL, {port} for a port that is allowed and where the trap is, and a word of the rule that its refusal names.
AT_ONCE: Final = (
    ("http://2130706433:{port}/", "decimal address"),
    ("http://017700000001:{port}/", "octal"),
    ("http://0177.0.0.1:{port}/", "octal"),
    ("http://0x7f000001:{port}/", "hexadecimal"),
    ("http://0x7f.0x0.0x0.0x1:{port}/", "hexadecimal"),
    ("http://127.0x1:{port}/", "hexadecimal"),
    ("http://127.1:{port}/", "short address"),
    ("http://127.0.0.1.:{port}/", "ends in a dot"),
    ("http://127.0.0.1:{port}/", "loopback"),
    ("http://127.8.8.8:{port}/", "loopback"),
    ("http://0.0.0.0:{port}/", "unspecified"),
    ("http://10.0.0.1:{port}/", "private"),
    ("http://192.168.0.1:{port}/", "private"),
    ("http://172.16.0.1:{port}/", "private"),
    ("http://169.254.169.254:{port}/latest/meta-data/", "link-local"),
    ("http://100.100.100.200:{port}/", "provider"),
    ("http://224.0.0.1:{port}/", "multicast"),
    ("http://255.255.255.255:{port}/", "reserved"),
    ("http://[::1]:{port}/", "loopback"),
    ("http://[::]:{port}/", "unspecified"),
    ("http://[::ffff:127.0.0.1]:{port}/", "IPv4-mapped"),
    ("http://[::ffff:7f00:1]:{port}/", "IPv4-mapped"),
    ("http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/", "IPv4-mapped"),
    ("http://[::127.0.0.1]:{port}/", "IPv4-compatible"),
    ("http://[2002:7f00:1::]:{port}/", "6to4"),
    ("http://[64:ff9b::7f00:1]:{port}/", "NAT64"),
    ("http://[2001:0:1:2:3:4:80ff:fffe]:{port}/", "Teredo"),
    ("http://[fe80::1]:{port}/", "link-local"),
    ("http://[fe80::1%25lo]:{port}/", "interface"),
    ("http://[fd00::1]:{port}/", "private"),
    ("http://localhost:{port}/", "loopback"),
    ("http://LocalHost:{port}/", "loopback"),
    ("http://x.localhost:{port}/", "loopback"),
    ("http://127。0。0。1:{port}/", "not ASCII"),
    ("http://①②⑦.⓪.⓪.①:{port}/", "not ASCII"),
    ("http://%31%32%37.0.0.1:{port}/", "no name and no address"),
    ("http://127.0.0.1:{port}\\@outside.example/", "backslash"),
    ("http://outside.example@127.0.0.1:{port}/", "credentials"),
    ("http://me:secret@outside.example:{port}/", "credentials"),
    ("http://outside.example:{port}/\r\nX-Injected: yes", "control"),
    ("http://outside.example:22/", "port 22"),
    ("http://outside.example:6379/", "port 6379"),
    ("http://outside.example:0/", "port 0"),
    ("file:///etc/passwd", "scheme 'file'"),
    ("FILE:///etc/passwd", "scheme 'file'"),
    ("gopher://127.0.0.1:{port}/_x", "scheme 'gopher'"),
    ("ftp://outside.example/x", "scheme 'ftp'"),
    ("dict://127.0.0.1:{port}/x", "scheme 'dict'"),
    ("data:text/plain,x", "scheme 'data'"),
    ("http:/127.0.0.1:{port}/", "names no host"),
    ("http:///127.0.0.1:{port}/", "names no host"),
    ("//127.0.0.1:{port}/", "no scheme"),
    ("http://inside.example:{port}/", "private"),
    ("http://metadata.example:{port}/", "link-local"),
    ("http://mapped.example:{port}/", "IPv4-mapped"),
    ("http://mixed.example:{port}/", "loopback"),
)
# Where a server that may be asked leads to, and the rule that the task then names.
LED_TO: Final = (
    ("http://127.0.0.1:{port}/", "loopback"),
    ("http://localhost:{port}/", "loopback"),
    ("http://[::1]:{port}/", "loopback"),
    ("http://2130706433:{port}/", "decimal address"),
    ("http://0x7f.1:{port}/", "hexadecimal"),
    ("http://[::ffff:127.0.0.1]:{port}/", "IPv4-mapped"),
    ("//169.254.169.254:{port}/", "link-local"),
    ("http://led.example:{port}/", "loopback"),
    ("http://me:secret@outside.example:{port}/", "credentials"),
    ("http://outside.example:22/", "port 22"),
    ("file:///etc/passwd", "scheme 'file'"),
)


Ask: TypeAlias = "Callable[[str, str], tuple[str, Answer]]"
"""Has a server ask a URL, for a new image: its id, and the answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request came to: its status, the documented name of its error, its sentence."""

    status: int
    code: str
    text: str


@check("locations", "ssrf", "What users must not have the service ask is refused, with the rule; nothing arrives.")
def ssrf(room: Room) -> Generator[Figure, None, None]:
    stores = room.work / "stores.toml"
    stores.write_text('[stores.web]\ntype = "http"\n')
    with BrokenWeb() as outside, BrokenWeb() as trap:
        settings = {
            "outgoing_ports": f"80,443,{outside.port},{trap.port}",
            "outgoing_hosts": "outside.example",
            "stores_file": stores,
            "show_locations": "true",
        }
        command = [sys.executable, "-c", _PROGRAM]
        with Server(room.work / "data", settings=settings, command=command) as server:
            for way, ask in WAYS.items():
                yield from _at_once(way, ask, server.url, trap.port)
            yield from _led(server.url, outside, trap.port)
            yield _led_at_once(server.url, outside)
            yield _rebound(server.url, trap.port)
            outside.files["/image"] = Served(b"bytes of an image")
            good = [_works(server.url, ask, outside.url("/image", host="outside.example")) for ask in WAYS.values()]
        yield holds("what may be asked is asked in each of the three ways, by the same settings", all(good))
        yield at_most("requests that arrived at the trap", len(trap.asked), 0, "")


def _at_once(way: str, ask: Ask, url: str, port: int) -> Generator[Figure, None, None]:
    wrong: list[str] = []
    for text, rule in AT_ONCE:
        _, answer = ask(url, text.format(port=port))
        unknown = ask is not _import and answer.code == "invalid" and any(why in answer.text for why in _NO_URL)
        right = (answer.code, rule in answer.text) == ("address-refused", True)
        if answer.status != 400 or not (right or unknown):
            wrong.append(f"{text}: {answer.status} {answer.code} {answer.text}")
    yield told(f"URLs that {way} refuses at once", str(len(AT_ONCE)))
    yield at_most("of them not 400 with the rule", len(wrong), 0, "", tuple(wrong))


def _led(url: str, outside: BrokenWeb, port: int) -> Generator[Figure, None, None]:
    wrong: list[str] = []
    for number, (to, rule) in enumerate(LED_TO):
        outside.redirect(f"/{number}", to.format(port=port))
        image, answer = _import(url, outside.url(f"/{number}", host="outside.example"))
        task = _ended(url, image) if answer.status == 202 else {"status": answer.status, "message": answer.text}
        said = str(task["message"])
        if task["status"] != "failure" or rule not in said or "leads on to what is not asked" not in said:
            wrong.append(f"{to}: {task['status']} {said}")
        elif client.status(url, image) != "queued":
            wrong.append(f"{to}: the image is {client.status(url, image)}")
    yield told("redirects of a server that may be asked", str(len(LED_TO)))
    yield at_most("of them not refused with the rule, the image queued", len(wrong), 0, "", tuple(wrong))


def _led_at_once(url: str, outside: BrokenWeb) -> Figure:
    wrong: list[str] = []
    for number, (to, rule) in enumerate(LED_TO):
        for way in ("PATCH locations", "POST locations"):
            _, answer = WAYS[way](url, outside.url(f"/{number}", host="outside.example"))
            if answer.status != 400 or rule not in answer.text:
                wrong.append(f"{way}, {to}: {answer.status} {answer.text}")
    return at_most("of them not 400 with the rule, as locations", len(wrong), 0, "", tuple(wrong))


def _works(url: str, ask: Ask, uri: str) -> bool:
    image, answer = ask(url, uri)
    if answer.status in {200, 202}:
        client.wait_for(url, image, "active", _ENDS_WITHIN)
    return answer.status in {200, 202}


def _rebound(url: str, port: int) -> Figure:
    image, answer = _import(url, f"http://rebound.example:{port}/")
    task = _ended(url, image) if answer.status == 202 else {"status": answer.status, "message": answer.text}
    ok = task["status"] == "failure" and "loopback" in str(task["message"])
    return holds(
        "a name that is public when it is checked and loopback when it is asked is refused", ok, (str(task["message"]),)
    )


def _import(url: str, uri: str) -> tuple[str, Answer]:
    image = client.create(url, "from elsewhere")
    said = {"method": {"name": "web-download", "uri": uri}}
    return image, _said(f"{url}/v2/images/{image}/import", "POST", said)


def _patch(url: str, uri: str) -> tuple[str, Answer]:
    image = client.create(url, "from elsewhere")
    said = [{"op": "add", "path": "/locations/-", "value": {"url": uri, "metadata": {}}}]
    kind = "application/openstack-images-v2.1-json-patch"
    return image, _said(f"{url}/v2/images/{image}", "PATCH", said, kind)


def _post(url: str, uri: str) -> tuple[str, Answer]:
    image = client.create(url, "from elsewhere")
    return image, _said(f"{url}/v2/images/{image}/locations", "POST", {"url": uri, "validation_data": {}})


WAYS: Final[dict[str, Ask]] = {"POST import": _import, "PATCH locations": _patch, "POST locations": _post}
# What is no URL at all, or none that any store has, is refused for that.
_NO_URL: Final = ("no store of this service has URLs like", "a character that no URL has")


def _said(url: str, method: str, body: object, kind: str = "application/json") -> Answer:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": kind}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Answer(response.status, "", "")
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode(errors="replace")
            return Answer(error.code, error.headers.get("x-drystone-error", ""), text)


def _ended(url: str, image: str) -> Any:  # noqa: ANN401 - JSON
    """The image's task, when it is over."""
    deadline = time.monotonic() + _ENDS_WITHIN
    while True:
        [task] = client.call(f"{url}/v2/images/{image}/tasks")["tasks"]
        if task["status"] in {"success", "failure"}:
            return task
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"the import of {image} is {task['status']} after {_ENDS_WITHIN:.0f} s: {task['message']}"
            )
        time.sleep(0.05)
