"""Imports at the client's end: what the service makes an image of by itself, and copies of one in other stores."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from httpapi.client.answers import read_json
from httpapi.client.errors import ClientError, Mismatch, NotAnImageService
from httpapi.client.hashing import USUAL, stated_hash
from httpapi.client.push import create, stage, take_back
from httpapi.client.retrying import Retrying
from httpapi.client.tasks import SECONDS, get_task, image_tasks, read_task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.client.report import Report
    from httpapi.client.source import Source
    from httpapi.wire.conversions import ConversionRequest
    from httpapi.wire.images import ImageRecord
    from httpapi.wire.tasks import TaskRecord

TYPE: Final = "api_image_import"
"""What services call the tasks of imports."""


class ImportFailed(ClientError):
    """The task ended badly; the message is what it says."""


@dataclass(frozen=True, slots=True)
class Into:
    """The stores that get a copy: these, or all; none named means the service's default one.

    `some_will_do`: the import succeeds if at least one has got it.
    """

    stores: Sequence[str] = ()
    all_stores: bool = False
    some_will_do: bool = False

    def to_json(self) -> dict[str, object]:
        """As a request says it; services without several stores know nothing of them, so nothing is said to these."""
        if not self.stores and not self.all_stores:
            return {}
        named: dict[str, object] = {"all_stores": True} if self.all_stores else {"stores": list(self.stores)}
        return named | {"all_stores_must_succeed": not self.some_will_do}


@dataclass(frozen=True, slots=True)
class Begun:
    """An import that goes on at the service. `is_new`: the image was made for it. `sha512` of what was staged."""

    image_id: str
    task: TaskRecord
    is_new: bool = False
    sha512: str | None = None


async def fetch(api: ImagesApi, want: Mapping[str, object] | str, uri: str, into: Into, report: Report) -> Begun:
    """Have the service fetch `uri`: for a new image with the attributes `want`, or for the queued one of that id."""
    return await _begin(api, want, {"name": "web-download", "uri": uri}, None, into, report)


async def send(api: ImagesApi, want: Mapping[str, object] | str, source: Source, into: Into, report: Report) -> Begun:
    """Send `source` to be staged, and have it imported; `want` as above."""
    return await _begin(api, want, {"name": "glance-direct"}, source, into, report)


async def copy(api: ImagesApi, image_id: str, into: Into) -> Begun:
    """Have the service copy an active image into further stores."""
    return Begun(image_id, await _start(api, image_id, {"name": "copy-image"}, into))


async def convert(api: ImagesApi, image_id: str, wanted: ConversionRequest) -> Begun:
    """Have the service make a new image of an active one; it deletes that again if it fails."""
    path = f"/images/{quote(image_id, safe='')}/actions/convert"
    async with api.request("POST", path, json=dict(wanted.to_json())) as response:
        with api.network():
            task = read_task(await read_json(response))
    if task.image_id is None:
        raise NotAnImageService("the conversion has begun, but its task names no image: check --endpoint")
    return Begun(task.image_id, task)


async def follow(api: ImagesApi, begun: Begun, report: Report, seconds: float = SECONDS) -> AsyncIterator[TaskRecord]:
    """The task as it is, again and again, until it is over. Raises ImportFailed if it ends badly.

    A service that is away for some seconds is waited for, and told.
    """
    task, trying = begun.task, Retrying(api, report)
    while True:
        yield task
        if task.is_over:
            break
        await asyncio.sleep(seconds)
        task = await trying(lambda: get_task(api, begun.task.id))
    if task.status != "success":
        raise ImportFailed(f"task {task.id} did not succeed: {task.message or 'no reason is told'}")


async def check(api: ImagesApi, begun: Begun) -> ImageRecord:
    """The image as the import has left it, its hash compared with what was staged. Raises Mismatch.

    Not where the service's rules say that it unpacks or converts: then other bytes are the image's.
    """
    image = await api.get_image(begun.image_id)
    if begun.task.makes_anew:
        return image
    algorithm, value = stated_hash(image) or ("", "")
    if begun.sha512 is not None and algorithm == USUAL and not hmac.compare_digest(begun.sha512, value):
        raise Mismatch(
            f"the image {image.id} has other bytes than were sent ({USUAL} differs): some services convert what they "
            "import, and this one does not tell that it does: delete the image and import it again",
        )
    return image


async def remove_from(api: ImagesApi, store: str, image_id: str) -> None:
    """Take an image's copy out of one store; it must lie in another one."""
    async with api.request("DELETE", f"/stores/{quote(store, safe='')}/{quote(image_id, safe='')}"):
        pass


async def _begin(
    api: ImagesApi,
    want: Mapping[str, object] | str,
    method: Mapping[str, str],
    source: Source | None,
    into: Into,
    report: Report,
) -> Begun:
    """What was made here goes again when the import does not begin."""
    is_new = not isinstance(want, str)
    image_id = want if isinstance(want, str) else await create(api, want, report, keep=False)
    try:
        sha512 = None if source is None else (await stage(api, image_id, source, report))[1]
        return Begun(image_id, await _start(api, image_id, method, into), is_new, sha512)
    except BaseException as failure:
        if is_new:
            await take_back(api, image_id, failure, report)
        raise


async def _start(api: ImagesApi, image_id: str, method: Mapping[str, str], into: Into) -> TaskRecord:
    known = {task.id for task in await image_tasks(api, image_id)}
    path = f"/images/{quote(image_id, safe='')}/import"
    async with api.request("POST", path, json={"method": dict(method), **into.to_json()}):
        pass
    # The answer does not name the task.
    for task in await image_tasks(api, image_id):
        if task.type == TYPE and task.id not in known:
            return task
    raise NotAnImageService(f"the import has begun, but image {image_id} has no task for it: `drystone show` tells")
