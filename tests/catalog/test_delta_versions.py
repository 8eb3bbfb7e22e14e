"""Many versions of a disk, each a delta over the one before, compared with a plain file after each step."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from blockstore.sent_blocks import EntryBegins, NumberRange, SentHeld, SentHoles
from catalog.usecases import block_reads, delta_begin, delta_commit, deltas, images
from catalog.usecases.deltas import Named
from tests.kit.image_service import CALLER, image_service
from tests.kit.sent_deltas import blocks_of, entry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from catalog.delta_ports import Part
    from catalog.usecases.services import Services
    from tests.kit.image_service import ImageService

BLOCK = 4096
LARGEST = 2500 * BLOCK


def edited(data: bytes, dice: random.Random) -> bytes:
    """The next version: grown, shrunk, cut to nothing, with blocks changed, zeroed and copied."""
    size = dice.choice([len(data)] * 4 + [dice.randrange(LARGEST), dice.randrange(LARGEST) // BLOCK * BLOCK, 0, 1])
    made = bytearray(data[:size].ljust(size, b"\0"))
    for _ in range(dice.randrange(30)):
        if not size:
            break
        at, length = dice.randrange(size), dice.choice([1, BLOCK, 40 * BLOCK])
        what = dice.choice([dice.randbytes(length), bytes(length), bytes(made[:length])])
        made[at : at + length] = what[: size - at]
    return bytes(made)


def differing(new: bytes, old: bytes) -> list[int]:
    """The blocks that a client sends: of other bytes or length, and none that begins behind the base and is zeros."""
    mine, theirs = blocks_of(new, BLOCK), blocks_of(old, BLOCK)
    return [n for n, block in mine.items() if (any(block) if n not in theirs else block != theirs[n])]


async def parts(new: bytes, numbers: list[int], base: str | None, old: bytes) -> AsyncGenerator[Part, None]:
    theirs = blocks_of(old, BLOCK)
    for number in numbers:
        block = new[number * BLOCK : (number + 1) * BLOCK]
        if not any(block):
            yield SentHoles(NumberRange(number, 1))
        elif base is not None and theirs.get(0) == block and number % 2:
            yield SentHeld(NumberRange(number, 1), base, 0)
        else:
            sent = entry(block)
            yield EntryBegins(number, len(sent))
            yield memoryview(sent)


async def pushed(service: ImageService, new: bytes, base: str | None, old: bytes, dice: random.Random) -> str:
    services, image_id = service.services, await service.new()
    delta = await delta_begin.begin(services, CALLER, image_id, size=len(new), base=base, block_size=BLOCK)
    named, numbers = Named(CALLER, image_id, delta.id), differing(new, old)
    step = max(1, len(numbers) // 3)
    batches = [numbers[at : at + step] for at in range(0, len(numbers), step)]
    dice.shuffle(batches)
    for batch in batches:
        await deltas.take(services, named, lambda _, batch=batch: parts(new, batch, base, old))  # type: ignore[misc]
    await delta_commit.commit(services, named, expected=len(numbers))
    return image_id


async def told(services: Services, image: str, since: str) -> list[tuple[int, int]]:
    found = await block_reads.changes(services, CALLER, image, since, start=0, most=10_000)
    return [(extent.offset, extent.length) for extent in found.extents]


@pytest.mark.parametrize("seed", range(3))
def test_twenty_versions_are_a_plain_files_whatever_is_deleted_meanwhile(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        dice = random.Random(seed)
        with image_service(tmp_path) as service:
            data, base = b"", None
            kept: dict[str, bytes] = {}
            for _ in range(20):
                new = edited(data, dice)
                image = await pushed(service, new, base, data, dice)
                assert await service.get(image) == new
                if base is not None:
                    # What is told to differ is what a client had to send, but for zeros: those behind the base's end
                    # differ, and a tail of them that is shorter now does not.
                    sent = {n for n in differing(new, data) if n * BLOCK < len(data)}
                    extents = await told(service.services, image, base)
                    blocks = {n for at, length in extents for n in range(at // BLOCK, -(-(at + length) // BLOCK))}
                    inside = {n for n in blocks if n * BLOCK < len(data)}
                    assert inside <= sent
                    assert not any(any(new[n * BLOCK : (n + 1) * BLOCK]) for n in sent - inside)
                kept[image] = new
                if len(kept) > 3:
                    doomed = dice.choice([each for each in kept if each != image])
                    await images.delete(service.services, CALLER, doomed)
                    del kept[doomed]
                for each, bytes_of in kept.items():
                    assert await service.get(each) == bytes_of
                data, base = new, image

    asyncio.run(scenario())
