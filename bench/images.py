"""Makes disk images to measure with: a real pair, a random, an all-hole and a compressible one.

python -m bench.images DIR [--size 1792MiB]        a real pair: v1.img and its next version v2.img
python -m bench.images stream --size 4GiB --seed 7  a compressible image on standard output
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from bench import count, ext4, usr_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MIB = 1 << 20
REAL = 1792 * MIB
SMALL = 96 * MIB
WORK = Path(__file__).parent / ".work"
_RECIPE = 3  # part of the cache's name: another recipe makes another pair
_FULL = 0.75  # of the image is files
# One file of each kind for so many bytes of image: each also touches its directory and its inode's place.
_AN_EDITED, _A_REWRITTEN, _A_REMOVED, _A_NEW = 16 * MIB, 12 * MIB, 44 * MIB, 10 * MIB
_LEAST, _AIM, _MOST = 0.02, 0.025, 0.08  # of the blocks differ in the next version
_TEXT = b"The quick brown fox jumps over the lazy dog, and a dry-stone wall holds because each block fits. " * 700


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions of one disk image; sizes in bytes, blocks are of 64 KiB."""

    v1: Path
    v2: Path
    size: int
    blocks: int
    hole_blocks: int
    differing: int

    def __str__(self) -> str:
        used = (self.blocks - self.hole_blocks) * count.BLOCK / MIB
        share = self.differing / self.blocks
        return (
            f"{self.size / MIB:.0f} MiB, {used:.0f} MiB used, {self.hole_blocks} of {self.blocks} blocks are holes; "
            f"{self.differing} blocks ({share:.1%}) differ in v2"
        )


def real_pair(work: Path = WORK, size: int = REAL, roots: Sequence[Path] = usr_files.ROOTS) -> Pair:
    """A real ext4 image and its next version, at least 2 % of whose 64 KiB blocks differ; made once."""
    home = work / f"pair-{size // MIB}M-{_RECIPE}"
    if not (home / "pair.json").exists():
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=work, prefix="making-") as making:
            facts = _make_pair(Path(making), size, roots)
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            for name in ("v1.img", "v2.img"):
                Path(making, name).rename(home / name)
        (home / "pair.json").write_text(json.dumps(facts))
    facts = json.loads((home / "pair.json").read_text())
    return Pair(home / "v1.img", home / "v2.img", **facts)


def _make_pair(making: Path, size: int, roots: Sequence[Path]) -> dict[str, int]:
    v1, v2, tree = making / "v1.img", making / "v2.img", making / "tree"
    sources = iter(usr_files.sample(roots))
    old = usr_files.take(sources, int(size * _FULL))
    usr_files.stage(old, tree)
    usr_files.fill(old, tree, int(size * _FULL) - sum(source.room for source in old))
    files = sum(1 for path in tree.rglob("*"))
    ext4.make(v1, tree, size, files)
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", v1, v2], check=True)
    dice = random.Random(size)
    victims = iter(dice.sample(old, len(old)))
    blocks = size // count.BLOCK
    differing: list[int] = []
    # By rounds, because what one costs depends on the machine's files.
    for number in range(1, 13):
        room = making / f"new-{number}"
        room.mkdir()
        new = usr_files.take(sources, size // 80, size // _A_NEW) or old[: size // _A_NEW]
        ext4.change(v2, next_version(victims, new, size, room, dice))
        differing = count.differing_blocks(v1, v2)
        if len(differing) >= _AIM * blocks:
            break
    for image in (v1, v2):
        ext4.check(image)
    if not _LEAST * blocks <= len(differing) <= _MOST * blocks:
        raise RuntimeError(f"{len(differing)} of {blocks} blocks differ in v2, not {_LEAST:.0%} to {_MOST:.0%}")
    return {"size": size, "blocks": blocks, "hole_blocks": count.zero_blocks(v1), "differing": len(differing)}


def next_version(
    victims: Iterator[usr_files.Source], new: list[usr_files.Source], size: int, room: Path, dice: random.Random
) -> Iterator[str]:
    """The debugfs commands that make v2 of v1: edits in place, files rewritten with an insertion, removed, and new.

    `room`: a directory for what is written into the image; its files must live until debugfs has run.
    """
    for source in itertools.islice(victims, size // _AN_EDITED):
        yield from _edits(source, dice)
    for number, source in enumerate(usr_files.take(victims, size // 100, size // _A_REWRITTEN)):
        data = source.path.read_bytes()
        middle = dice.randrange(source.size)
        rewritten = room / f"rewritten-{number}"
        rewritten.write_bytes(data[:middle] + dice.randbytes(dice.randrange(100, 5000)).hex().encode() + data[middle:])
        yield f"rm /{source.target}"
        yield from _write(rewritten, source.target)
    for source in itertools.islice(victims, size // _A_REMOVED):
        yield f"rm /{source.target}"
    yield "cd /"
    yield f"mkdir {room.name}"
    for number, source in enumerate(new):
        yield from _write(source.path, f"{room.name}/{number:05}-{Path(source.target).name}")


def _edits(source: usr_files.Source, dice: random.Random) -> Iterator[str]:
    """Up to three in-place edits of a file, in blocks that aren't zeros: mke2fs made holes of those."""
    data = source.path.read_bytes()
    for _ in range(3):
        at = dice.randrange(-(-source.size // usr_files.FS_BLOCK))
        offset, length, pattern = dice.randrange(3000), dice.randrange(16, 1000), dice.randrange(1, 256)
        if any(data[at * usr_files.FS_BLOCK : (at + 1) * usr_files.FS_BLOCK]):
            yield f"zap_block -f /{source.target} -o {offset} -l {length} -p {pattern} {at}"


def _write(source: Path, target: str) -> Iterator[str]:
    """debugfs writes into its current directory only."""
    place, _, name = f"/{target}".rpartition("/")
    yield f"cd {place or '/'}"
    yield f"write {source} {name}"


def hole_image(path: Path, size: int) -> None:
    """A file of `size` bytes that is one hole."""
    with path.open("wb") as file:
        file.truncate(size)


def random_image(path: Path, size: int) -> None:
    """Bytes that nobody has seen before and nobody can compress."""
    with path.open("wb") as file:
        for start in range(0, size, 4 * MIB):
            file.write(os.urandom(min(4 * MIB, size - start)))


def compressible_image(path: Path, size: int, seed: int) -> None:
    """The bytes of `compressible` in a file."""
    with path.open("wb") as file:
        for piece in compressible(size, seed):
            file.write(piece)


def compressible(size: int, seed: int) -> Iterator[memoryview]:
    """`size` bytes, distinct by seed, no 64 KiB block like another, that zstd 1 makes 2 to 3 times smaller.

    In each block 28 KiB are random and the rest is text. A piece is valid until the next one: the buffer is used again.
    """
    dice = np.random.Generator(np.random.SFC64(seed))
    blocks = np.empty((MIB // count.BLOCK, count.BLOCK), np.uint8)
    noise = 28 * 1024
    blocks[:, noise:] = np.frombuffer(_TEXT[: count.BLOCK - noise], np.uint8)
    words = blocks.shape[0] * noise // 8
    for start in range(0, size, MIB):
        blocks[:, :noise] = dice.integers(0, 1 << 64, words, np.uint64).view(np.uint8).reshape(-1, noise)
        yield blocks.reshape(-1).data[: min(MIB, size - start)]


def in_bytes(text: str) -> int:
    """`4GiB`, `96MiB` or a plain number."""
    for unit, factor in (("KiB", 1 << 10), ("MiB", MIB), ("GiB", 1 << 30)):
        if text.endswith(unit):
            return int(float(text.removesuffix(unit)) * factor)
    return int(text)


def _stream(size: int, seed: int) -> None:
    """Writes a compressible image to standard output and the xxh3 of its bytes to standard error."""
    seen = xxhash.xxh3_128()
    for piece in compressible(size, seed):
        seen.update(piece)
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    sys.stderr.write(seen.hexdigest())


def _digest() -> None:
    """Reads standard input to its end, writes the xxh3 of its bytes and their number to standard output."""
    seen = xxhash.xxh3_128()
    buffer = memoryview(bytearray(MIB))
    source = io.FileIO(0, closefd=False)
    size = 0
    while got := source.readinto(buffer):
        seen.update(buffer[:got])
        size += got
    print(seen.hexdigest(), size)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.images", description=__doc__)
    parser.add_argument("what", help="a directory for the pair, `stream`, or `digest` (of standard input)")
    parser.add_argument("--size", type=in_bytes, default=REAL)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    if wanted.what == "stream":
        _stream(wanted.size, wanted.seed)
    elif wanted.what == "digest":
        _digest()
    else:
        pair = real_pair(Path(wanted.what), wanted.size)
        print(f"{pair.v1}\n{pair.v2}\n{pair}")


if __name__ == "__main__":
    main()
