"""A raw file as a qcow2, which appears under its name when it is whole."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from httpapi.client.errors import TargetRefused
from httpapi.client.programs import find_program

if TYPE_CHECKING:
    from pathlib import Path


async def make_qcow2(raw: Path, file: Path, *, force: bool) -> None:
    """Makes `file` of `raw`, which goes. TargetRefused if it can't be, or `file` is there and `force` is not said."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.drystone-part")
    command = [find_program("qemu-img"), "convert", "-q", "-f", "raw", "-O", "qcow2", str(raw), str(part)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, told = await process.communicate()
        if process.returncode:
            said = os.fsdecode(told).strip().splitlines()
            raise TargetRefused(f"{file} can't be made: {said[-1] if said else 'qemu-img fails'}")
        _finish(part, file, raw, force=force)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        with suppress(FileNotFoundError):
            part.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _finish(part: Path, file: Path, raw: Path, *, force: bool) -> None:
    _sync(part)
    if force:
        part.replace(file)
    else:
        try:
            os.link(part, file)
        except FileExistsError:
            raise TargetRefused(f"{file} has come to be there meanwhile: say --force to replace it") from None
    raw.unlink()
