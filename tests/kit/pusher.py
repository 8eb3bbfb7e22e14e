"""A disk that is pushed to a server again and again, by what changed or as unchanged, with the wire counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from httpapi.client.api import ImagesApi
from httpapi.client.auth import Access
from httpapi.client.block_file import open_block_file
from httpapi.client.delta_push import push_changes
from httpapi.client.names_cache import NamesCache
from httpapi.client.push_terms import Keeping, PushWish
from httpapi.client.source import open_source
from httpapi.client.unchanged_push import push_unchanged
from tests.kit.kept_report import KeptReport

if TYPE_CHECKING:
    from pathlib import Path

    from bench.counting_proxy import CountingProxy
    from httpapi.client.push_terms import PushResult
    from tests.kit.changing_disk import ChangingDisk
    from tests.kit.running_server import RunningServer

WANT = {"name": "disk", "disk_format": "raw", "container_format": "bare"}
RAW = {"Content-Type": "application/octet-stream"}


class Pusher:
    """Pushes the same file again and again, each time over the last image."""

    def __init__(self, server: RunningServer, wire: CountingProxy, disk: ChangingDisk, state: Path) -> None:
        self.server, self.wire, self.disk = server, wire, disk
        self.report = KeptReport()
        self.cache: NamesCache | None = NamesCache(state / "names")
        self.state = state / "pushes"
        self.terms: dict[str, Any] = {}

    def whole(self) -> str:
        image_id = self.server.new_image(name="disk")
        assert self.server.call("PUT", f"/v2/images/{image_id}/file", bytes(self.disk.held), RAW).status == 204
        return image_id

    def push(self, parent: str, **want: object) -> PushResult:
        async def connected() -> PushResult | None:
            async with ImagesApi(self.wire.url) as api:
                keeping = Keeping(self.state, (str(self.disk.path),), self.cache, **self.terms)
                record = await api.get_image(parent)
                return await push_changes(api, file, WANT | want, record, self.report, keeping)

        self.report = KeptReport()
        file = open_block_file(str(self.disk.path))
        self.wire.taken()
        try:
            done = asyncio.run(connected())
        finally:
            file.close()
        assert done is not None, self.report.notes
        return done

    def push_unchanged(self, parent: str | None, **want: object) -> PushResult | None:
        wish = PushWish(self.state.parent, parent, **self.terms)
        source = open_source(str(self.disk.path))
        self.wire.taken()
        try:
            return push_unchanged(Access(self.wire.url, "a test"), source, WANT | want, wish, self.report)
        finally:
            source.close()

    def is_right(self, image_id: str) -> None:
        answer = self.server.call("GET", f"/v2/images/{image_id}/file")
        assert answer.body == bytes(self.disk.held)

    def begun(self) -> list[str]:
        """Images that are under way."""
        listed = self.server.call("GET", "/v2/images").json["images"]
        return [image["id"] for image in listed if image["status"] != "active"]
