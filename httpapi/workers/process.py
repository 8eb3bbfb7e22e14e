"""A worker as the supervisor sees it: a process, and what it says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from httpapi.settings import worker_environment
from httpapi.workers import link
from httpapi.workers.shares import share_of, to_document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from httpapi.settings import Settings


@dataclass(slots=True)
class WorkerProcess:
    """One process, from its start to its end."""

    number: int
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_ready: bool = False

    @classmethod
    async def start(cls, settings: Settings, number: int, directory: Path) -> WorkerProcess:
        """Start worker `number` of the service; it waits for nothing but its first line, which is sent."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",
                    "-m",
                    "httpapi.workers.member",
                    str(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env=worker_environment(directory),
                    # Ctrl-C goes to the supervisor alone, which then stops them in order.
                    process_group=0,
                )
                reader, writer = await asyncio.open_connection(sock=ours)
            except BaseException:
                ours.close()
                raise
        worker = cls(number, process, reader, writer)
        worker.tell(
            {
                link.SETTINGS: to_document(share_of(settings, number)),
                link.NUMBER: number,
                link.OF: settings.workers,
                link.DIRECTORY: str(directory),
            }
        )
        return worker

    def tell(self, message: Mapping[str, object]) -> None:
        """Send a line; a process that has ended does not mind."""
        if not self.writer.is_closing():
            self.writer.write(json.dumps(message).encode() + b"\n")

    async def said(self) -> Mapping[str, object]:
        """The next line; empty when the process has ended, or is about to."""
        line = b""
        with contextlib.suppress(ConnectionError):
            line = await self.reader.readline()
        message: Mapping[str, object] = json.loads(line) if line.endswith(b"\n") else {}
        return message

    def signal(self, number: int) -> None:
        """Send a signal, if the process still runs."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def ended(self) -> str:
        """Wait for the end; how it was, in words."""
        code = await self.process.wait()
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
