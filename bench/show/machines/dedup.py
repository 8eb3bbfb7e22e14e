"""What the next version of a disk costs when it comes in a file of QEMU's: the file's bytes, or the guest's blocks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench import qemu_img, tools
from bench.images import REAL, SMALL, real_pair
from bench.show import client
from bench.show.registry import MB, Figure, Room, at_most, check, holds, told
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from bench.images import Pair

ALLOWANCE: Final = 1.15
"""Of what the next version costs as a raw disk."""
AS_IT_IS, BLOCKS = "the file's bytes", "the guest's blocks"


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of file that a disk comes in."""

    name: str
    suffix: str
    options: tuple[str, ...] = ()


RAW: Final = Form("raw", "raw")
FORMS: Final = (RAW, Form("qcow2", "qcow2"), Form("qcow2 -c", "qcow2", ("-c",)))


@check("machines", "dedup", "The next version of a disk costs what changed, in a compressed qcow2 as in a raw file.")
def dedup(room: Room) -> Generator[Figure, None, None]:
    if why := tools.missing("qemu-img", "qemu-nbd"):
        yield Figure("the pair in each form", "not run", "-", False, (why,))
        return
    pair = real_pair(room.images, SMALL if room.short else REAL)
    yield told("the real pair", f"{pair.size / MB:.0f} MB", (str(pair),))
    new: dict[tuple[Form, str], int] = {}
    forms = (RAW, FORMS[-1]) if room.short else FORMS
    for form in forms:
        disks = _made(pair, form, room.work)
        for way in (AS_IT_IS, BLOCKS):
            place = room.work / "server"
            place.mkdir()
            new[form, way], right, detail = _cost(disks, way, pair, place)
            shutil.rmtree(place)
            yield told(f"{form.name}, {way}: bytes new for v2", f"{new[form, way] / MB:.2f} MB", detail)
            yield holds(f"{form.name}, {way}: v2 comes back as it was pushed", right)
        if form is not RAW:
            for disk in disks:
                disk.unlink()
    plain = new[RAW, AS_IT_IS]
    for form in forms:
        yield at_most(f"{form.name}, {BLOCKS}: of what raw costs", new[form, BLOCKS] / plain, ALLOWANCE, "times")


def _made(pair: Pair, form: Form, work: Path) -> list[Path]:
    """The pair as files of this kind."""
    if form is RAW:
        return [pair.v1, pair.v2]
    made = []
    for version in (pair.v1, pair.v2):
        target = work / f"{version.stem}.{form.suffix}"
        qemu_img.convert(version, "raw", target, form.suffix, *form.options)
        made.append(target)
    return made


def _cost(disks: list[Path], way: str, pair: Pair, place: Path) -> tuple[int, bool, tuple[str, ...]]:
    """What a new server's blocks grow by for v2 over v1; whether that is what was pushed; and how large all was."""
    options = ["--as-is"] if way == AS_IT_IS else []
    data = place / "data"
    taken = []
    with Server(data) as server:
        for disk in disks:
            words = ["push", str(disk), "--name", "disk", "--quiet", *options]
            image = client.program(server.url, *words, home=place / "home").strip()
            taken.append(_stored(data))
        target = place / "back"
        client.program(server.url, "pull", image, str(target), home=place / "home")
    first, second = taken
    right = client.same(target, disks[1] if way == AS_IT_IS else pair.v2)
    sizes = (f"files {' and '.join(f'{disk.stat().st_size / MB:.0f}' for disk in disks)} MB",)
    grown = f"packs and manifests are {first / MB:.2f} MB with v1, {second / MB:.2f} MB with both"
    return second - first, right, (*sizes, grown)


def _stored(data: Path) -> int:
    """Bytes of packs and manifests: what an image costs, without the pages of index and catalog."""
    files = (path for part in ("packs", "manifests") for path in (data / part).rglob("*"))
    return sum(path.stat().st_size for path in files if path.is_file())
