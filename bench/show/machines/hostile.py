"""Files that nobody should convert, through the running service: each is refused with a reason, and costs little.

They come by import, by web-download, and as images that are converted on demand. The service does not look at formats
itself (`formats = "off"`), so that all of them reach the cage; one way keeps the default, as most services have it.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from bench import conversions, qemu_img, tools
from bench.images import MIB, compressible_image
from bench.show import client
from bench.show.registry import Figure, Room, at_most, check, holds, told
from bench.show.server import Memory, Server, own_memory, tree
from tests.kit.broken_web import BrokenWeb, Served
from tests.kit.hostile_files import HOSTILE, PACKED, gzip_bomb, zstd_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

CAP: Final = 8 * MIB
"""`image_size_cap`: what a file may be, and what it may become by being unpacked."""
AT_WORK: Final = 192 * MIB
"""Memory that the service and its cage may have more at the worst moment than at rest; 96 MiB are `slab_budget`."""
KEPT: Final = 32 * MIB
"""Memory that the service may have more when all is over."""
ROOM: Final = 4 * CAP
"""What may lie on the disk for a job: what came, what was unpacked, and what is made of that, with its tables."""
_BOMB, _BOMB_IN_SHORT = 1 << 30, 256 * MIB
_SOME: Final = 4
"""One of so many files, in the short form."""
_TOLD: Final = 3
_QUIET: Final = 6.0
_PACKED: Final = "packed: "
# To an import these are plain disks.
_NOT_PACKED: Final = frozenset({"a text", "a zip behind something", "a zip of nothing"})


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that nobody should convert."""

    name: str
    path: Path
    disk_format: str
    told: str = ""


@dataclass(slots=True)
class Way:
    """A way into the service: `begin` sends a file and gives an image and the task that should fail.

    `after` is what the image is then; `target` what an import makes of disks; `exact`: the reason is the converter's.
    """

    name: str
    settings: Mapping[str, object]
    begin: Callable[[str, Sent], tuple[str, str]]
    after: str
    target: str | None = None
    exact: bool = True

    def takes(self, sent: Sent) -> bool:
        """Whether the file is anything to refuse, this way: imports unpack, and leave a disk that has its format."""
        return not sent.name.startswith(_PACKED) if self.target is None else sent.disk_format != self.target


@dataclass(slots=True)
class Outcome:
    """What was wrong, and some reasons that were given."""

    count: int = 0
    wrong: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


@check("machines", "hostile", "Files that lead elsewhere, lie or grow: refused with the reason, at a bounded cost.")
def hostile(room: Room) -> Generator[Figure, None, None]:
    if why := tools.missing("qemu-img"):
        yield Figure("each file is refused with a reason", "not run", "0 otherwise", False, (why,))
        return
    files = _files(room)
    yield told("files that nobody should convert", f"{len(files)}", (", ".join(file.name for file in files),))
    with BrokenWeb() as web:
        for way in _ways(web):
            yield from _through(way, files, room)


def _files(room: Room) -> list[Sent]:
    place = room.work / "files"
    place.mkdir()
    found = []
    packed = [(f"{_PACKED}{name}", each) for name, each in PACKED.items() if name not in _NOT_PACKED]
    chosen = [*HOSTILE.items(), *packed]
    for number, (name, each) in enumerate(chosen[:: _SOME if room.short else 1]):
        path = place / f"{number}"
        each.write(path)
        found.append(Sent(name, path, each.disk_format, each.told))
    size = _BOMB_IN_SHORT if room.short else _BOMB
    for name, bomb in (("gzip", gzip_bomb), ("zstd", zstd_runs)):
        path = place / name
        path.write_bytes(bomb(size))
        found.append(
            Sent(f"{_PACKED}{size >> 20} MiB of zeros in {path.stat().st_size >> 10} KiB of {name}", path, "raw")
        )
    return found


def _ways(web: BrokenWeb) -> Iterator[Way]:
    fetches = {"outgoing_ports": str(web.port), "outgoing_networks": "127.0.0.0/8"}
    yield Way("import, unseen", {"formats": "off"}, _by_import, "queued", "vmdk")
    yield Way("web-download, as by default", fetches, _by_url(web), "queued", "qcow2", exact=False)
    yield Way("on demand, unseen", {"formats": "off"}, _on_demand, "active")


def _through(way: Way, files: list[Sent], room: Room) -> Generator[Figure, None, None]:
    place = room.work / way.name.split(",")[0].replace(" ", "-")
    place.mkdir()
    work = place / "work"
    converts = {} if way.target is None else {"import_convert": way.target, "import_decompress": "true"}
    settings = {**way.settings, **converts, "image_size_cap": CAP, "work_dir": work, "jobs": 1}
    with ExitStack() as stack:
        server = stack.enter_context(Server(place / "data", settings=settings))
        good = _good(room)
        _does_a_good_one(way, server, good)
        at_rest, alone = _at_rest(server), set(tree(server.pid))
        with Memory(server.pid) as memory, Taken(work) as taken:
            outcome = Outcome()
            for sent in files:
                if way.takes(sent):
                    _refused(way, server.url, sent, outcome)
            alive = not server.has_ended and _does_a_good_one(way, server, good)
        what = f"{way.name}: of {outcome.count} files not refused with a reason"
        yield Figure(
            what, f"{len(outcome.wrong)}", "0", not outcome.wrong, tuple(outcome.wrong or outcome.reasons[:_TOLD])
        )
        yield holds(f"{way.name}: the same process does the next job, and it is right", alive)
        yield at_most(
            f"{way.name}: memory at work, more than at rest", _mib(memory.peak - at_rest), _mib(AT_WORK), "MiB"
        )
        yield at_most(f"{way.name}: memory kept afterwards", _mib(_at_rest(server) - at_rest), _mib(KEPT), "MiB")
        yield at_most(f"{way.name}: disk that a job takes", _mib(taken.peak), _mib(ROOM), "MiB")
        left = [path for path in work.rglob("*") if path.is_file()] if work.exists() else []
        strangers = set(tree(server.pid)) - alone
        what = f"{way.name}: processes and files that are left"
        yield Figure(what, f"{len(strangers)}, {len(left)}", "0, 0", not strangers and not left, tuple(map(str, left)))


def _refused(way: Way, url: str, sent: Sent, outcome: Outcome) -> None:
    """Send a file, wait for its task, and look at what it says and what became of the image."""
    outcome.count += 1
    image, task = way.begin(url, sent)
    ended = conversions.ended(url, task)
    message = str(ended.get("message") or "")
    outcome.reasons.append(f"{sent.name}: {message}")
    if ended["status"] != "failure" or not message:
        outcome.wrong.append(f"{sent.name}: {ended['status']}, {message}")
    elif way.exact and sent.told.lower() not in message.lower():
        outcome.wrong.append(f"{sent.name}: another reason than {sent.told}: {message}")
    found = client.status(url, image)
    if found != way.after:
        outcome.wrong.append(f"{sent.name}: its image is {found}, not {way.after}")
    made = ended.get("image_id")
    if made != image:
        with suppress(RuntimeError):
            outcome.wrong.append(f"{sent.name}: the image that was to be made is {client.status(url, str(made))}")


def _by_import(url: str, sent: Sent) -> tuple[str, str]:
    return conversions.staged(url, sent.path, sent.disk_format)


def _by_url(web: BrokenWeb) -> Callable[[str, Sent], tuple[str, str]]:
    def begin(url: str, sent: Sent) -> tuple[str, str]:
        path = f"/{sent.path.name}"
        web.files[path] = Served(data=sent.path.read_bytes())
        image = conversions.new(url, sent.name, sent.disk_format)
        return image, conversions.imported(url, image, {"name": "web-download", "uri": web.url(path)})

    return begin


def _on_demand(url: str, sent: Sent) -> tuple[str, str]:
    image = conversions.kept(url, sent.path, sent.disk_format)
    return image, conversions.converted(url, image, "qcow2" if sent.disk_format == "raw" else "raw")


def _good(room: Room) -> Sent:
    """A file that is what it says."""
    path = room.work / "good"
    if not path.exists():
        compressible_image(path, CAP // 2, seed=9)
    return Sent("good", path, "raw")


def _does_a_good_one(way: Way, server: Server, good: Sent) -> bool:
    _, task = way.begin(server.url, good)
    made = conversions.succeeded(server.url, task)["image_id"]
    target = server.data.parent / "good.back"
    client.download(server.url, made, target)
    return qemu_img.equal(good.path, "raw", target, client.call(f"{server.url}/v2/images/{made}")["disk_format"])


def _at_rest(server: Server) -> int:
    """Its memory when nobody has asked for some seconds: it gives back then what it has spare."""
    time.sleep(_QUIET)
    return own_memory(server.pid)


def _mib(size: int) -> float:
    return max(0, size) / MIB


class Taken:
    """Samples what a directory takes on the disk, twenty times a second; the most is `peak`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            taken = 0
            # Rooms come and go while they are walked through.
            for folder, _, names in os.walk(self._directory):
                for name in names:
                    with suppress(OSError):
                        taken += Path(folder, name).lstat().st_blocks * 512
            self.peak = max(self.peak, taken)
