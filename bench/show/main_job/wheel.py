"""The wheel alone, in a clean environment away from the checkout, serves, pushes and pulls."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.images import MIB, compressible_image
from bench.places import ROOT
from bench.show import client
from bench.show.registry import Figure, Room, check, holds, told
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Generator

PINS = ROOT / ".ci" / "constraints.txt"
PACKAGES = {"chunker", "blockstore", "catalog", "httpapi"}


@check("main-job", "wheel", "The wheel in a clean environment serves, pushes and pulls; it holds what it needs only.")
def wheel(room: Room) -> Generator[Figure, None, None]:
    client.run([sys.executable, "-m", "build", "--wheel", "--outdir", str(room.work / "dist"), str(ROOT)])
    built = next((room.work / "dist").glob("*.whl"))
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
    yield told("the wheel", f"{built.stat().st_size / 1e3:.0f} kB", (f"{built.name}, {len(names)} files",))
    migrations = [name for name in names if name.startswith("catalog/sql/migrations/") and name.endswith(".py")]
    yield holds("it holds the catalog's migrations", len(migrations) > 1, tuple(migrations))
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    yield holds("it holds no bench and no tests", tops == PACKAGES, (f"at its top: {', '.join(sorted(tops))}",))

    elsewhere = room.work / "elsewhere"
    client.run([sys.executable, "-m", "venv", str(elsewhere)])
    pins = ["--constraint", str(PINS)] if PINS.exists() else []
    client.run([str(elsewhere / "bin" / "pip"), "install", "--quiet", *pins, str(built)], cwd=room.work)
    program = str(elsewhere / "bin" / "drystone")
    yield holds("its modules come from there, not from the checkout", _comes_from(elsewhere, room.work))
    image, back = room.work / "image.raw", room.work / "back.raw"
    compressible_image(image, 20 * MIB + 12345, seed=3)
    with Server(room.work / "data", command=[program], cwd=room.work) as server:
        here = {"DRYSTONE_ENDPOINT": server.url}
        pushed = client.run([program, "push", str(image)], here, room.work).split()[-1]
        client.run([program, "pull", pushed, str(back)], here, room.work)
    yield holds("what it pushes it pulls, byte-identical", client.same(image, back))


def _comes_from(environment: Path, away: Path) -> bool:
    code = "import httpapi.cli.root as root; print(root.__file__)"
    found = client.run([str(environment / "bin" / "python"), "-c", code], cwd=away)
    return Path(found.strip()).is_relative_to(environment)
