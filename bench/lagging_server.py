"""`drystone` with a task in the server's own loop that asks to be woken every 5 ms and writes down how late it was.

python -m bench.lagging_server FILE serve ...     FILE gets a line a wake-up: monotonic seconds, seconds late
"""

from __future__ import annotations

import asyncio
import sys
import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
EVERY: Final = 0.005


async def sampled(work: Coroutine[object, object, T], samples: array[float]) -> T:
    """The result of `work`, beside which the sampler runs: monotonic seconds and seconds late, in turns."""
    sampler = asyncio.create_task(_sample(samples))
    try:
        return await work
    finally:
        sampler.cancel()


async def _sample(samples: array[float]) -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(EVERY)
        now = time.monotonic()
        samples.extend((now, now - before - EVERY))


def write(path: Path, samples: array[float]) -> None:
    pairs = zip(samples[::2], samples[1::2], strict=True)
    path.write_text("".join(f"{at:.6f} {late:.6f}\n" for at, late in pairs))


def read(path: Path, start: float, stop: float) -> list[float]:
    """How late the wake-ups between two moments of the monotonic clock were, in seconds, sorted."""
    rows = (line.split() for line in path.read_text().splitlines())
    return sorted(float(late) for at, late in rows if start <= float(at) <= stop)


def main() -> None:
    from httpapi.cli.root import main as drystone

    path = Path(sys.argv[1])
    # Every way to run a loop goes through this method, asyncio.run too.
    plain = asyncio.Runner.run

    def run(runner: asyncio.Runner, work: Coroutine[object, object, T], **more: object) -> T:
        samples = array("d")
        try:
            return plain(runner, sampled(work, samples), **more)  # type: ignore[arg-type]  # handed on as they came
        finally:
            write(path, samples)

    asyncio.Runner.run = run  # type: ignore[assignment,method-assign]  # the one place to get into a loop of others
    sys.argv[1:2] = []
    sys.exit(drystone())


if __name__ == "__main__":
    main()
