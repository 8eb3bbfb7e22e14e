"""A small real machine that boots from `drystone nbd`, under a qcow2 overlay; the service is killed meanwhile."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from bench import count, ext4, guest_boot, tools
from bench.guest import Guest, content, content_sha256
from bench.places import ROOT, drystone
from bench.show import client
from bench.show.registry import Figure, Room, at_least, check, holds, told
from bench.show.server import Server, environment

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

MIB: Final = 1 << 20
NEEDED: Final = ("nbdkit", "nbdinfo", "nbdcopy", "qemu-img", "qemu-system-x86_64")
_DOWN_SECONDS: Final = 4.0
"""How long the service is away while the machine reads."""
_SHARE_OF_PULL: Final = 0.5
"""How much of the speed of `drystone pull` a copy through nbdkit reaches at least; both take their time to begin."""
_FILES: Final = 4


@check(
    "machines",
    "nbd",
    "`nbdinfo --map` shows the holes; a machine boots from `drystone nbd` and writes, the service is killed meanwhile.",
)
def nbd(room: Room) -> Generator[Figure, None, None]:
    if why := tools.missing(*NEEDED) or guest_boot.missing():
        yield holds("nbdkit is here, and a guest can be made", False, (why,))
        return
    disk, size = room.work / "disk.raw", (4 if room.short else 24) * MIB
    _make_disk(disk, size)
    with Server(room.work / "data") as server:
        image = client.program(server.url, "push", str(disk), "--name", "debian").strip()
        yield from _holes(server, disk, room.work)
        yield from _machine(server, room.work, size)
        back = room.work / "back.raw"
        client.download(server.url, image, back)
        yield holds("the image is untouched", client.same(disk, back))
        if not room.short:
            yield from _speed(server, room.work, disk)


def _make_disk(disk: Path, size: int) -> None:
    """A disk to take the root from, with files of known bytes; three quarters of it are holes."""
    tree = disk.with_name("tree")
    guest_boot.fill_root(tree)
    for number in range(_FILES):
        (tree / f"file{number}").write_bytes(content(number, size))
    ext4.make(disk, tree, 4 * _FILES * size, files=100)


def _holes(server: Server, disk: Path, work: Path) -> Generator[Figure, None, None]:
    with _served(server, work, "--read-only") as ready:
        mapped = sum(row["length"] for row in _map(ready["uri"]) if row["type"] & 2)
        asked = json.loads(tools.run("qemu-img", "map", "--output=json", "-f", "raw", ready["uri"]))
    manifest = sum(1 for each in _blocks(disk) if not any(each)) * count.BLOCK
    same = mapped == manifest == ready["holes"] == sum(row["length"] for row in asked if row["zero"])
    detail = (
        f"{mapped} bytes by nbdinfo, {manifest} in blocks of zeros of the disk, {ready['holes']} in the manifest",
    )
    what = f"{mapped // MIB} MiB of {disk.stat().st_size // MIB}"
    yield holds(f"`nbdinfo --map` shows the manifest's holes, {what}", same, detail)


def _machine(server: Server, work: Path, size: int) -> Generator[Figure, None, None]:
    overlay = work / "vm.qcow2"
    with _served(server, work, "--overlay", str(overlay)) as ready, _guest(ready) as guest:
        yield holds("a machine boots from it: its root is the image's", " / ext4 " in guest.run("cat /proc/mounts"))
        yield holds("what it reads is right", guest.sha256("/file0") == content_sha256(0, size))
        guest.write_file("/before", size // 2, seed=11)
        found: list[str] = []
        server.kill()
        reads = threading.Thread(target=lambda: found.append(guest.sha256("/file1", seconds=180.0)))
        began = time.monotonic()
        reads.start()
        reads.join(_DOWN_SECONDS)
        waits = reads.is_alive()
        server.start()
        reads.join()
        detail = (f"{time.monotonic() - began:.1f} s in all, the service away for {_DOWN_SECONDS:g} s and its start",)
        yield holds("the service is killed (-9): what the machine reads then waits", waits)
        yield holds("and is right when the service is back", found == [content_sha256(1, size)], detail)
        guest.write_file("/after", size // 2, seed=12)
        server.stop()
        # It may need what is around the bytes first.
        writes = threading.Thread(target=lambda: guest.write_at("/file2", 70_000, 200_000, seed=13))
        writes.start()
        server.start()
        writes.join()
        yield holds("a restart beside a write", guest.sha256("/file3") == content_sha256(3, size))
        guest.power_off()
    changed = bytearray(content(2, size))
    changed[70_000:270_000] = content(13, 200_000)
    (work / "changed").write_bytes(changed)
    wanted = {"/before": content_sha256(11, size // 2), "/after": content_sha256(12, size // 2)}
    wanted |= {"/file2": tools.run("sha256sum", str(work / "changed")).split()[0]}
    with _served(server, work, "--overlay", str(overlay)) as ready, _guest(ready) as guest:
        found_again = {name: guest.sha256(name) for name in wanted}
        guest.power_off()
    yield holds("served again, the same overlay has what the machine wrote", found_again == wanted)
    yield told("the overlay", f"{client.disk_use(overlay) / MIB:.1f} MiB")


def _speed(server: Server, work: Path, disk: Path) -> Generator[Figure, None, None]:
    """A copy of all data, through a new server each time, by turns."""
    data = sum(1 for each in _blocks(disk) if any(each)) * count.BLOCK
    speeds: dict[str, list[float]] = {"nbd": [], "pull": [], "curl": []}
    for _ in range(3):
        with _served(server, work, "--read-only") as ready:
            speeds["nbd"].append(_timed(data, ["nbdcopy", ready["uri"], str(work / "copy")]))
        pull = [*drystone(), "--endpoint", server.url, "pull", "debian", str(work / "copy"), "--force", "--quiet"]
        (work / "copy").unlink()
        speeds["pull"].append(_timed(data, pull))
        (work / "copy").unlink()
        speeds["curl"].append(_timed(data, client.get_command(server.url, ready["id"], work / "copy")))
        (work / "copy").unlink()
    best = {name: max(each) for name, each in speeds.items()}
    what = tuple(f"{name}: {speed / 1e6:.0f} MB/s of data" for name, speed in best.items())
    share = best["nbd"] / best["pull"]
    yield at_least("a copy through it, share of `drystone pull`'s speed", share, _SHARE_OF_PULL, "x", what)


def _timed(size: int, command: list[str]) -> float:
    began = time.monotonic()
    client.run(command)
    return size / (time.monotonic() - began)


@contextmanager
def _served(server: Server, work: Path, *options: str) -> Iterator[dict[str, Any]]:
    """`drystone nbd`, ready; it must end well."""
    command = [*drystone(), "--endpoint", server.url, "nbd", "debian", "--socket", str(work / "s"), "--json", *options]
    variables = environment({})
    with (work / "nbd.log").open("ab") as log:
        serving = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=log)
        try:
            assert serving.stdout is not None
            line = serving.stdout.readline()
            if not line:
                raise RuntimeError(f"drystone nbd does not serve:\n{(work / 'nbd.log').read_text()}")
            yield json.loads(line)
        finally:
            serving.terminate()
            code = serving.wait(30)
            assert serving.stdout is not None
            serving.stdout.close()
    if code:
        raise RuntimeError(f"drystone nbd ended with {code}:\n{(work / 'nbd.log').read_text()}")


def _guest(ready: dict[str, Any]) -> Guest:
    """A machine with the disk as the verb prints it."""
    *before, disk = [json.loads(each) for each in ready["qemu"] if each.startswith("{")]
    del disk["node-name"]
    extra = [word for each in before for word in ("-blockdev", json.dumps(each))]
    return Guest([disk], root="/dev/vda", extra=extra)


def _map(uri: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(tools.run("nbdinfo", "--map", "--json", uri))
    return found


def _blocks(disk: Path) -> Iterator[bytes]:
    with disk.open("rb") as file:
        while block := file.read(count.BLOCK):
            yield block
