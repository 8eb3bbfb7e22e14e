"""Signed URLs and cookies, at the client's end, and how QEMU is told to read an image by one."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from httpapi.client.answers import read_json
from httpapi.client.errors import ClientError, NotAnImageService, NotFound
from httpapi.wire.tickets import EXPIRES, SignedUrl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.wire.images import ImageRecord

_DRIVERS: Final[Mapping[str, str]] = {
    "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhdx": "vhdx", "vhd": "vpc", "ploop": "parallels",
}  # fmt: skip

# Their header may name another file, which QEMU would open, whatever it is and of whichever machine.
_OVER_OTHERS: Final = frozenset({"qcow2", "vmdk"})


@dataclass(frozen=True, slots=True)
class Readable:
    """An image and what it can be read with."""

    image: ImageRecord
    signed: SignedUrl

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {"image": self.image.id, "disk_format": self.image.disk_format, **self.signed.to_json()}


async def sign(api: ImagesApi, image_id: str, seconds: int | None = None) -> SignedUrl:
    """A URL, and a cookie, with which whoever has it can read the image for that long, or as the service has it.

    Raises NotFound, Conflict (it cannot be downloaded), ApiError (400: longer than is signed there; 403).
    """
    asked = {} if seconds is None else {EXPIRES: seconds}
    path = f"/images/{quote(image_id, safe='')}"
    try:
        async with api.request("POST", f"{path}/actions/sign", json=asked) as response:
            with api.network():
                document = await read_json(response)
    except NotFound:
        # Other services of this API have no such route; an image that is gone is told as ever.
        await api.get_image(image_id)
        raise ClientError("this service signs no URLs: only Drystone does") from None
    try:
        told = {name: str(document[name]) for name in SignedUrl.__slots__}  # type: ignore[index]  # else a TypeError
    except (TypeError, KeyError):
        raise NotAnImageService("the answer is no signed URL: check --endpoint") from None
    return SignedUrl(**told)


def qemu_lines(found: Readable, cookie_file: str | None = None) -> Sequence[str]:
    """Options and commands of QEMU's that read the image so: by the URL, or by the cookie in this file.

    One coroutine copies: QEMU's HTTP driver, as of 7.2, can wait for ever where several read at once.
    """
    driver = _DRIVERS.get(found.image.disk_format or "", "raw")
    url = found.signed.url if cookie_file is None else found.signed.cookie_url
    if driver in _OVER_OTHERS:
        return _lines_alone(driver, url, cookie_file)
    node = f"driver={driver},file.driver={urlsplit(url).scheme},file.url={_escaped(url)}"
    if cookie_file is not None:
        node += ",file.cookie-secret=drystone"
        secret = shlex.quote(f"secret,id=drystone,file={_escaped(cookie_file)}")
        return (
            f"qemu-img convert -m 1 --object {secret} --image-opts '{node}' -O qcow2 copy.qcow2",
            f"-object {secret} -drive 'if=virtio,snapshot=on,{node}'",
            f"-object {secret} -blockdev 'node-name=disk,read-only=on,{node}'",
        )
    return (
        f"qemu-img convert -m 1 -f {driver} -O qcow2 '{url}' copy.qcow2",
        f"qemu-img create -f qcow2 -F {driver} -b '{url}' overlay.qcow2",
        f"-drive 'if=virtio,snapshot=on,{node}'",
        f"-blockdev 'node-name=disk,read-only=on,{node}'",
    )


def _lines_alone(driver: str, url: str, cookie_file: str | None) -> Sequence[str]:
    """The same for an image that is to be read without what its header names: only JSON can say that it has nothing."""
    file = {"driver": urlsplit(url).scheme, "url": url}
    secret = ""
    if cookie_file is not None:
        file["cookie-secret"] = "drystone"
        secret = f"-object {shlex.quote(f'secret,id=drystone,file={_escaped(cookie_file)}')} "
    node = {"driver": driver, "backing": None, "file": file}
    name = f"json:{json.dumps(node)}"
    disk = json.dumps({"node-name": "disk", "read-only": True, **node})
    # The overlay keeps the name in its own header, and with it that there is nothing below; a secret it can't keep.
    create = [] if secret else [f"qemu-img create -f qcow2 -F {driver} -b {shlex.quote(name)} overlay.qcow2"]
    return (
        f"qemu-img convert -m 1 {secret.replace('-object', '--object', 1)}{shlex.quote(name)} -O qcow2 copy.qcow2",
        *create,
        f"{secret}-drive {shlex.quote(f'if=virtio,snapshot=on,file={_escaped(name)}')}",
        f"{secret}-blockdev {shlex.quote(disk)}",
    )


def _escaped(text: str) -> str:
    """As QEMU wants a comma in the value of an option."""
    return text.replace(",", ",,")
