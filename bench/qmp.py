"""QEMU's machine protocol: commands over a unix socket, one JSON object each."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Qmp:
    """A connection, which is the only one as long as it is open."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._answers = self._socket.makefile("rb")
        self._answers.readline()
        self.ask("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()

    def ask(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON
        """What the command returns; RuntimeError with what QEMU says if it refuses. Events are passed over."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments or {}}).encode())
        while "event" in (answer := json.loads(self._answers.readline())):
            continue
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']['desc']}")
        return answer["return"]
