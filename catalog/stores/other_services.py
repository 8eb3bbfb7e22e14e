"""Other services of this API in the same cloud, found through its Keystone and asked as the user who wants an import.

A token opens all that its user may do, so it is neither in the database nor in a task: it waits in a file of its own in
the data directory, which nobody else may read, until its import has ended. When it has run out by then, the import
fails and says so.
"""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from catalog.model.errors import SourceLost, SourceRefused
from catalog.model.foreign_image import ForeignImage, NotTaken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from catalog.stores.outgoing.outgoing import Outgoing, Remote

_LARGEST: Final = 4 << 20
_IMAGES: Final = "image"


class KeptTokens:
    """Tokens of imports that wait or run, each in a file that is called after its task, `directory` made if missing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, task_id: str, token: str) -> None:
        """Keep the token of a task that is about to be made."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(self._path(task_id), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(token)

    def of(self, task_id: str) -> str | None:
        """The token of a task; None when it is not kept any more."""
        try:
            return self._path(task_id).read_text(encoding="ascii")
        except FileNotFoundError:
            return None

    def forget(self, task_id: str) -> None:
        """The task is over; one that has no token is no error."""
        with suppress(FileNotFoundError):
            self._path(task_id).unlink()

    def held(self) -> Mapping[str, float]:
        """The tasks whose tokens are here, and when each came, in seconds since 1970."""
        found = {}
        with suppress(FileNotFoundError):
            for path in sorted(self._directory.iterdir()):
                with suppress(FileNotFoundError):
                    found[path.name] = path.stat().st_mtime
        return found

    def _path(self, task_id: str) -> Path:
        assert "/" not in task_id
        return self._directory / task_id


class OtherServices:
    """The image services of a cloud, by region; opens nothing before it is asked.

    `keystone_url` ends in /v3. Its address, and those that its catalog names, are the operator's own, so they may be
    private ones. Where they lead on to is judged as any other address. `way` makes a way out; each service gets one.
    """

    def __init__(self, keystone_url: str, way: Callable[[], Outgoing], tokens: KeptTokens) -> None:
        self.tokens = tokens
        self._keystone = keystone_url
        self._way = way

    @asynccontextmanager
    async def opened(
        self, task_id: str, image_id: str, *, region: str, interface: str = "public"
    ) -> AsyncIterator[OtherImage]:
        """An image of the service in this region, asked with the token of a task.

        Raises SourceRefused when there is no such region, interface or image, when the image is not active, and when
        the token is not valid any more; SourceLost when Keystone or the service cannot be asked.
        """
        token = self.tokens.of(task_id)
        if token is None:
            raise SourceRefused("The token with which the import was asked for is not kept any more: ask again.")
        endpoint = await self._endpoint(token, region, interface)
        way = self._way().beside(endpoint)
        try:
            url = f"{endpoint}/images/{image_id}"
            record = await _json(way, url, token, f"The image service in region {region[:80]!r}")
            yield OtherImage(way, url, token, _read(record))
        finally:
            await way.close()

    async def _endpoint(self, token: str, region: str, interface: str) -> str:
        """Where the image service is, with its version."""
        way = self._way().beside(self._keystone)
        try:
            document = await _json(way, f"{self._keystone}/auth/catalog", token, "Keystone")
        finally:
            await way.close()
        for each in _endpoints(document):
            if each.get("interface") == interface and region in {each.get("region"), each.get("region_id")}:
                return _versioned(str(each.get("url")))
        raise SourceRefused(
            f"Keystone's catalog has no image service in region {region[:80]!r} with a {interface[:40]!r} interface."
        )


class OtherImage:
    """An active image of another service, asked for once; `told` is what it tells of itself."""

    def __init__(self, way: Outgoing, url: str, token: str, told: ForeignImage) -> None:
        self.told = told
        self._way = way
        self._url = url
        self._token = token

    async def open(self, *, limit: int | None = None) -> Remote:
        """Its bytes, as a source. Close it. They never change, so they are resumed by their size alone."""
        headers = {"X-Auth-Token": self._token}
        try:
            remote = await self._way.open(f"{self._url}/file", limit=limit, headers=headers, fixed=True)
        except SourceRefused as refusal:
            raise _told(refusal) from None
        if self.told.size is not None and remote.size not in {None, self.told.size}:
            remote.close()
            raise SourceLost(f"The other service tells {self.told.size} bytes of the image and sends {remote.size}.")
        return remote


async def _json(way: Outgoing, url: str, token: str, whose: str) -> object:
    try:
        return json.loads(await way.read(url, limit=_LARGEST, headers={"X-Auth-Token": token}))
    except SourceRefused as refusal:
        raise _told(refusal) from None
    except (ValueError, RecursionError) as error:
        raise SourceLost(f"{whose} answers with something that is no JSON.") from error


def _told(refusal: SourceRefused) -> SourceRefused:
    if refusal.status != 401:
        return refusal
    return SourceRefused(
        "The token with which the import was asked for is not valid any more: ask again, with a new one."
    )


def _endpoints(document: object) -> Iterator[Mapping[str, object]]:
    """Those of image services in Keystone's catalog."""
    catalog = document.get("catalog") if isinstance(document, dict) else None
    for service in catalog if isinstance(catalog, list) else ():
        if isinstance(service, dict) and service.get("type") == _IMAGES:
            endpoints = service.get("endpoints")
            yield from (each for each in endpoints if isinstance(each, dict)) if isinstance(endpoints, list) else ()


def _read(record: object) -> ForeignImage:
    try:
        return ForeignImage.of(record)
    except NotTaken as error:
        raise SourceRefused(str(error)) from error


def _versioned(url: str) -> str:
    bare = url.rstrip("/")
    return bare if bare.endswith("/v2") else f"{bare}/v2"
