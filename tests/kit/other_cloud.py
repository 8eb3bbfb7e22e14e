"""A Keystone and an image service of another region, played by one broken web server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from catalog.stores.other_services import KeptTokens, OtherServices
from catalog.stores.outgoing.outgoing import Outgoing
from catalog.stores.outgoing.rules import Rules
from tests.kit.broken_web import Served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.broken_web import BrokenWeb

REGION = "West"
IMAGE = "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c"
RECORD = f"/glance/v2/images/{IMAGE}"
FILE = f"{RECORD}/file"
CATALOG = "/v3/auth/catalog"


def serve_image(web: BrokenWeb, data: bytes, **told: Any) -> None:
    """Have an image there, of these bytes, and a catalog that leads to it."""
    endpoints = [
        {"interface": "public", "region": REGION, "region_id": REGION, "url": web.url("/glance/")},
        {"interface": "internal", "region": REGION, "region_id": REGION, "url": "http://10.0.0.1:1"},
    ]
    catalog = [{"type": "volume", "endpoints": endpoints[1:]}, {"type": "image", "endpoints": endpoints}]
    web.files[CATALOG] = Served(json.dumps({"catalog": catalog}).encode())
    formats = {"disk_format": "raw", "container_format": "bare"}
    record = {"id": IMAGE, "status": "active", "size": len(data), **formats, **told}
    web.files[RECORD] = Served(json.dumps(record).encode())
    # As the reference answers: no version of the bytes.
    web.files[FILE] = Served(data, etag=None)


def other_cloud(web: BrokenWeb, directory: Path) -> OtherServices:
    rules = Rules(ports=frozenset({web.port}))
    return OtherServices(web.url("/v3"), lambda: Outgoing(rules, pauses=(0.01, 0.01)), KeptTokens(directory / "tokens"))
