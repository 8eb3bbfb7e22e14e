"""Every format into every other, by a job on import and on demand: what comes out holds the same disk, says QEMU."""

from __future__ import annotations

import gzip
import lzma
import shutil
import zipfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import zstandard

from bench import conversions as asked
from bench import qemu_img, tools
from bench.images import MIB, SMALL, real_pair
from bench.show import client
from bench.show.registry import Figure, Room, check, told
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

TARGETS: Final = ("raw", "qcow2", "vmdk", "vhdx")
_SIZE_IN_SHORT: Final = 12 * MIB
# Formats whose files are of one kind in Drystone, with the kinds that come from elsewhere.
_KINDS: Final = (
    ("raw", ()),
    ("qcow2", ()),
    ("qcow2", ("-c",)),
    ("qcow2", ("-o", "compat=0.10,cluster_size=4k")),
    ("vmdk", ()),
    ("vmdk", ("-o", "subformat=streamOptimized")),
    ("vhdx", ()),
    ("vhdx", ("-o", "subformat=fixed")),
    ("vdi", ()),
)
_Outcome: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Disk:
    """A file with a disk in it."""

    path: Path
    form: str
    name: str


@check("machines", "conversions", "raw, qcow2, vmdk, vhdx, vdi in, the first four out, packed files too: equal.")
def conversions(room: Room) -> Generator[Figure, None, None]:
    if why := tools.missing("qemu-img"):
        yield Figure("each conversion is equal by qemu-img compare", "not run", "0 unequal", False, (why,))
        return
    disks = _disks(room)
    yield told("the disk", f"{disks[0].path.stat().st_size / MIB:.0f} MiB", tuple(disk.name for disk in disks))
    yield _unequal("on import (import_convert)", _on_import(disks, room))
    yield _unequal("on demand (…/actions/convert)", _on_demand(disks, room))
    yield _unequal("packed files on import (import_decompress)", _packed(disks, room))


def _disks(room: Room) -> list[Disk]:
    """One disk in files of each kind."""
    plain = real_pair(room.images, SMALL).v1
    if room.short:
        whole, plain = plain, room.work / "short.raw"
        with whole.open("rb") as source, plain.open("wb") as target:
            target.write(source.read(_SIZE_IN_SHORT))
    made = []
    for number, (form, options) in enumerate(_KINDS):
        path = room.work / f"disk-{number}.{form}"
        qemu_img.convert(plain, "raw", path, form, *options)
        made.append(Disk(path, form, " ".join((form, *options))))
    return made


def _on_import(disks: Sequence[Disk], room: Room) -> Generator[_Outcome, None, None]:
    for number, target in enumerate(TARGETS):
        # In the short form each kind once, and into each format.
        some = disks[number :: len(TARGETS)] if room.short else disks
        with Server(room.work / f"into-{target}", settings={"import_convert": target}) as server:
            for disk in some:
                yield _outcome(disk, target, server.url, room, partial(_by_import, disk))


def _on_demand(disks: Sequence[Disk], room: Room) -> Generator[_Outcome, None, None]:
    first = {disk.form: disk for disk in reversed(disks)}
    ways = [(disk, target, False) for disk in first.values() for target in TARGETS if target != disk.form]
    ways.append((first["raw"], "qcow2", True))
    with Server(room.work / "on-demand") as server:
        kept = {disk.form: asked.kept(server.url, disk.path, disk.form) for disk in first.values()}
        for disk, target, compressed in ways[:: 4 if room.short else 1]:
            make = partial(asked.converted, image=kept[disk.form], form=target, compressed=compressed)
            yield _outcome(disk, f"{target} -c" if compressed else target, server.url, room, make)
        for disk in first.values():
            # What was converted stays as it was.
            yield f"{disk.name} afterwards", _wrong(disk, disk.form, server.url, kept[disk.form], room)


def _packed(disks: Sequence[Disk], room: Room) -> Generator[_Outcome, None, None]:
    packs: tuple[Callable[[Path, Path], None], ...] = (_gz, _xz, _zst, _zip)
    first = {disk.form: disk for disk in reversed(disks)}
    for settings in ({}, {"import_convert": "raw"}):
        form = "qcow2" if settings else "raw"
        with Server(room.work / f"unpacks-{form}", settings={"import_decompress": "true", **settings}) as server:
            for pack in packs:
                packed = room.work / f"packed{pack.__name__.replace('_', '.')}"
                pack(first[form].path, packed)
                make = partial(_by_import, Disk(packed, form, packed.name))
                name = f"{form} in a {packed.suffix}"
                yield _outcome(Disk(first[form].path, form, name), "raw", server.url, room, make)
                packed.unlink()


def _by_import(disk: Disk, url: str) -> str:
    return asked.staged(url, disk.path, disk.form)[1]


def _outcome(disk: Disk, target: str, url: str, room: Room, make: Callable[[str], str]) -> _Outcome:
    """What the task makes of a disk that `make` gives: the conversion, and what is wrong."""
    name = f"{disk.name} → {target}"
    try:
        image = str(asked.succeeded(url, make(url))["image_id"])
    except RuntimeError as error:
        return name, f"it failed: {error}"
    return name, _wrong(disk, target.split(maxsplit=1)[0], url, image, room)


def _wrong(disk: Disk, target: str, url: str, image: str, room: Room) -> str:
    """What an image's record or bytes have that is not this disk in this format; empty if all is well."""
    record = client.call(f"{url}/v2/images/{image}")
    said = (record["status"], record["disk_format"], record["container_format"])
    if said != ("active", target, "bare"):
        return f"its record says {', '.join(map(str, said))}"
    back = room.work / f"back.{target}"
    client.download(url, image, back)
    try:
        return "" if qemu_img.equal(disk.path, disk.form, back, target) else "another disk"
    finally:
        back.unlink()


def _unequal(what: str, outcomes: Iterable[_Outcome]) -> Figure:
    found = list(outcomes)
    wrong = tuple(f"{name}: {why}" for name, why in found if why)
    told_of = wrong or ("; ".join(name for name, _ in found),)
    return Figure(f"{what}: {len(found)} conversions", f"{len(wrong)} unequal", "0 unequal", not wrong, told_of)


def _gz(source: Path, target: Path) -> None:
    with source.open("rb") as plain, gzip.open(target, "wb", compresslevel=1) as packed:
        shutil.copyfileobj(plain, packed)


def _xz(source: Path, target: Path) -> None:
    with source.open("rb") as plain, lzma.open(target, "wb", preset=0) as packed:
        shutil.copyfileobj(plain, packed)


def _zst(source: Path, target: Path) -> None:
    with source.open("rb") as plain, target.open("wb") as packed:
        zstandard.ZstdCompressor().copy_stream(plain, packed)


def _zip(source: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.write(source, "disk")
