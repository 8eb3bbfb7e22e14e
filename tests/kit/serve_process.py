"""`drystone serve` as a process of its own, so that tests can signal and kill it."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

    from tests.kit.forked_program import ForkedProcess, ForkedPrograms

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-c", "from httpapi.cli.root import main; main()")


class ServeProcess:
    """A server on a free port of loopback, ready when entered; killed when left, if it still runs.

    Started as a user does; with `programs`, forked from what is loaded already.
    """

    def __init__(self, data: Path, programs: ForkedPrograms | None = None, /, **variables: str) -> None:
        self._arguments = ["serve", "--data", str(data), "--listen", "127.0.0.1:0"]
        self._programs = programs
        self._variables = variables

    def __enter__(self) -> Self:
        environment = os.environ | self._variables
        self.process: subprocess.Popen[bytes] | ForkedProcess
        heard, told = os.pipe()
        with os.fdopen(told, "wb") as stdout:
            if self._programs is not None:
                self.process = self._programs.start(self._arguments, environment, stdout=stdout)
            else:
                self.process = subprocess.Popen(
                    [*PROGRAM, *self._arguments], cwd=ROOT, env=environment, stdout=stdout, stderr=subprocess.DEVNULL
                )
        self._stdout = os.fdopen(heard, "rb")
        self.said = self._stdout.readline().decode()
        found = re.search(r"https?://127\.0\.0\.1:(\d+) ", self.said)
        assert found, f"no start line: {self.said!r}"
        self.port = int(found[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        _, log = self.process.communicate()
        self._stdout.close()
        if log:
            # Shown with a test that fails.
            print(log.decode())

    def call(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/octet-stream"
    ) -> tuple[int, bytes]:
        """One request; status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": kind})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def new_image(self) -> str:
        """The id of a new image, queued."""
        document: dict[str, Any] = {"disk_format": "raw", "container_format": "bare"}
        status, body = self.call("POST", "/v2/images", json.dumps(document).encode())
        assert status == 201
        return str(json.loads(body)["id"])

    def status_of(self, image_id: str) -> str:
        """The image's status."""
        return str(json.loads(self.call("GET", f"/v2/images/{image_id}")[1])["status"])

    def connect_with(self, first: bytes) -> socket.socket:
        """A connection on which these bytes were sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(first)
        return connection

    def begin_upload(self, image_id: str, size: int, first: bytes) -> socket.socket:
        """Send the head and the first bytes of an upload of `size` bytes, and wait until the server takes them."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        head = f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
        connection.sendall(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + first)
        while self.status_of(image_id) != "saving":
            pass
        return connection
