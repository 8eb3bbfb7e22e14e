"""The real Swift, one node in a process of its own, from `.swift`: the object store that tests start."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote, urlsplit

from tests.kit.disk_room import disk_room
from tests.kit.foreign_server import ForeignServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.kit.real_keystone import Keystone

HERE: Final = Path(__file__).parent
PYTHON: Final = HERE.parents[1] / ".swift" / "bin" / "python"
USER: Final = "drystone:images"
KEY: Final = "images-key"
"""What lets in by TempAuth: the account's owner."""
READER: Final = "drystone:reader"
READER_KEY: Final = "reader-key"
"""A user of the same account who may do nothing."""


class SwiftServer(ForeignServer):
    """Serves on free ports of loopback from `root` until left; what is kept there outlives `kill` and `start`.

    It takes two seconds to start. Without `keystone` it knows TempAuth: USER and KEY at `auth_url`, `auth_version` 1.
    With one, that one's tokens; the service `object-store` is then in its catalog. There is one container, `images`;
    more come by `container`. `root/swift.log` stays.
    """

    def __init__(self, root: Path, *, keystone: Keystone | None = None, token_seconds: int = 3600) -> None:
        self._root = root
        self._keystone = keystone
        self._token_seconds = token_seconds
        self.port = _free_ports(4)
        self.auth_url = keystone.url if keystone else f"http://127.0.0.1:{self.port}/auth/v1.0"
        self.token, self._path = "", ""
        self._rooms = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._root.mkdir(parents=True, exist_ok=True)
        if not _keeps_attributes(self._root):
            # A file system in memory, of an older kernel.
            self._root = self._rooms.enter_context(disk_room())
        try:
            self.start()
            self._login()
            self.container("images")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._rooms.close()

    def start(self) -> None:
        """Serve, on the same ports and data as before; returns when it takes requests."""
        words = [str(self._root), str(self.port), str(self._token_seconds)]
        if self._keystone is not None:
            words += [self._keystone.url, self._keystone.service.password]
        self.run_until_ready(PYTHON, HERE / "serve_swift.py", self._root, *words)

    @property
    def account_url(self) -> str:
        """Where its owner's containers are, for `token`."""
        return f"http://127.0.0.1:{self.port}{self._path}"

    def container(self, name: str, *, quota: int | None = None) -> None:
        """Make a container, or give it a quota in bytes."""
        told = {} if quota is None else {"X-Container-Meta-Quota-Bytes": str(quota)}
        status, _ = self._ask("PUT", f"/{quote(name)}", told)
        assert status < 300, status

    def drop_container(self, name: str) -> None:
        """Let a container go with all that is in it."""
        for key in self.objects(name):
            self._ask("DELETE", f"/{quote(name)}/{quote(key)}")
        status, _ = self._ask("DELETE", f"/{quote(name)}")
        assert status in {204, 404}, status

    def objects(self, container: str = "images") -> Sequence[str]:
        """The names of all objects in a container; none if there is no such container."""
        status, body = self._ask("GET", f"/{quote(container)}?format=json&limit=10000")
        return [entry["name"] for entry in json.loads(body)] if status == 200 else []

    def _login(self) -> None:
        if self._keystone is None:
            answer = _request("GET", self.auth_url, {"X-Auth-User": USER, "X-Auth-Key": KEY})
            self.token, self._path = answer[1]["X-Auth-Token"], urlsplit(answer[1]["X-Storage-Url"]).path
        else:
            root = f"http://127.0.0.1:{self.port}/v1/AUTH_"
            self._keystone.endpoint(f"{root}%(project_id)s", service="object-store", name="swift")
            self.token = self._keystone.token(self._keystone.admin)
            self._path = urlsplit(f"{root}{self._keystone.admin.project_id}").path

    def _ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        told = {"X-Auth-Token": self.token, **(headers or {})}
        answer = _request(method, f"http://127.0.0.1:{self.port}{self._path}{path}", told)
        return answer[0], answer[2]


def _request(method: str, url: str, headers: dict[str, str]) -> tuple[int, http.client.HTTPMessage, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", headers={**headers, "Content-Length": "0"})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def _free_ports(count: int) -> int:
    """The first of so many free ones in a row, below those that the system gives to clients."""
    while True:
        first = random.randrange(21_100, 31_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as free:
            for port in range(first, first + count):
                free.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


def _keeps_attributes(directory: Path) -> bool:
    """Whether files here may have what Swift writes beside their bytes."""
    probe = directory / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.swift", b"x" * 1024)
    except OSError:
        return False
    else:
        return True
    finally:
        probe.unlink()
