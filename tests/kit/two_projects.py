"""A server over a real store, in this process, whose callers log in by name and belong to two projects."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from catalog.property_protection import Protection
from httpapi.identity.basic import BasicIdentity
from httpapi.identity.passwords import hash_of
from httpapi.identity.users import UserFiles
from tests.kit.image_service import image_service
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from blockstore.disk import Disk
    from blockstore.store import BlockStore
    from tests.kit.running_server import Answer

OCTETS = {"Content-Type": "application/octet-stream"}
ACCOUNTS = """
[users.ann]
project = "stone"
roles = ["member"]
[users.bob]
project = "wood"
roles = ["member"]
[users.rea]
project = "stone"
roles = ["reader"]
[users.root]
project = "house"
roles = ["admin"]
"""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody's requests."""

    server: RunningServer
    name: str

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        json_body: object = None,
    ) -> Answer:
        login = "Basic " + base64.b64encode(f"{self.name}:{self.name}".encode()).decode()
        return self.server.call(method, path, body, dict(headers or {}) | {"Authorization": login}, json_body=json_body)

    def new_image(self, **attributes: object) -> str:
        """The id of a new image, queued."""
        document = {"disk_format": "raw", "container_format": "bare", **attributes}
        answer = self.call("POST", "/v2/images", json_body=document)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    def put_image(self, data: bytes, **attributes: object) -> str:
        """The id of a new image with these bytes."""
        image_id = self.new_image(**attributes)
        assert self.call("PUT", f"/v2/images/{image_id}/file", data, OCTETS).status == 204
        return image_id

    def bytes_of(self, image_id: str) -> bytes:
        """An image's bytes, downloaded."""
        answer = self.call("GET", f"/v2/images/{image_id}/file")
        assert answer.status == 200, answer.body
        return answer.body

    def status_of(self, image_id: str) -> str:
        """The image's status as the API tells it."""
        return str(self.call("GET", f"/v2/images/{image_id}").json["status"])


@dataclass(frozen=True, slots=True)
class TwoProjects:
    """Members `ann` of stone and `bob` of wood, a reader `rea` of stone, an admin `root`."""

    server: RunningServer
    store: BlockStore

    def __getattr__(self, name: str) -> User:
        if name not in {"ann", "bob", "rea", "root"}:
            raise AttributeError(name)
        return User(self.server, name)


@cache
def _passwords() -> str:
    return "".join(f"{name}:{hash_of(name, cost=4)}\n" for name in ("ann", "bob", "rea", "root"))


@contextlib.contextmanager
def two_projects(
    root: Path,
    *,
    block_size: int = 4096,
    disk: Disk | None = None,
    keep_deleted: float = 0.0,
    protection: Protection | None = None,
) -> Iterator[TwoProjects]:
    """The server, over the data directory `root / "data"`."""
    passwords = root / "htpasswd"
    if not passwords.exists():
        passwords.write_text(_passwords())
        (root / "accounts.toml").write_text(ACCOUNTS)
        for path in (passwords, root / "accounts.toml"):
            path.chmod(0o600)
    with (
        image_service(root / "data", block_size=block_size, disk=disk, keep_deleted=keep_deleted) as service,
        RunningServer(
            replace(service.services, protection=protection or Protection()),
            identity=BasicIdentity(UserFiles(passwords)),
        ) as server,
    ):
        yield TwoProjects(server, service.store)
