"""One image, served as a disk until it is told to end: prepare, listen, run nbdkit, keep its login fresh.

    find nbdkit → is there data → manifest to extents → login to a private file → socket → nbdkit → ready → wait

nbdkit reads the login from the file again every few seconds. It is written anew when the service refuses the old one:
that is seen by asking for the image once a minute, and at once when nbdkit is refused.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, TypeVar

from blockstore.clock import monotonic
from httpapi.client.block_names import fetch_names
from httpapi.client.delta_api import DeltaApi
from httpapi.client.errors import ClientError, Interrupted, LoginNeeded, NoData, NotFound, TargetRefused
from httpapi.client.lane import Lane
from httpapi.client.nbd_export.data_extents import write_extents
from httpapi.client.nbd_export.listening import listening
from httpapi.client.nbd_export.nbdkit import FETCHED_AT_ONCE, Served, find_nbdkit
from httpapi.client.nbd_export.overlay import Base, prepare_overlay
from httpapi.client.programs import BoundProgram
from httpapi.client.retrying import Retrying

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpapi.client.api import ImagesApi
    from httpapi.client.nbd_export.listening import TcpPlace, UnixPlace
    from httpapi.client.report import Report
    from httpapi.wire.images import ImageRecord

T = TypeVar("T")
LOOK_SECONDS: Final = 60.0
_SAME_AGAIN_SECONDS: Final = 30.0
_MOST_TOLD: Final = 100
_REFUSED: Final = re.compile(r"error: 401\b")
_NUMBER: Final = re.compile(r"\[\d+\]")
# The API's disk formats, by QEMU's names.
_DRIVERS: Final = {
    "raw": "raw", "iso": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx",
    "ploop": "parallels", "ami": "raw",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServingWish:
    """Where, and how; `overlay` makes the export read-only. `scratch` takes what was read and written, and is emptied.

    `patience` is for how many seconds at least a service is waited for that is away, `fetch` how many bytes are asked
    for at once.
    """

    place: UnixPlace | TcpPlace
    read_only: bool = False
    overlay: Path | None = None
    scratch: Path | None = None
    patience: int = 300
    fetch: int = FETCHED_AT_ONCE


@dataclass(frozen=True, slots=True)
class Ready:
    """What is served now: `driver` is QEMU's name of the image's format, `holes` their bytes, None if not known."""

    image: ImageRecord
    uri: str
    driver: str
    holes: int | None
    overlay_is_new: bool = False


async def serve_disk(
    api: ImagesApi, image: ImageRecord, wish: ServingWish, report: Report, ready: Callable[[Ready], None]
) -> None:
    """Serves until it is cancelled, after `ready`. Raises NoData, TargetRefused, Interrupted if nbdkit just ends."""
    driver = _driver_of(image)
    nbdkit = find_nbdkit()
    # Secrets and the list of extents; a directory of its own is its owner's alone.
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="drystone-") as room:
        login = LoginFile(api, image.id, Path(room) / "headers", report)
        login.write()
        holes = await _write_extents(api, image, Path(room) / "extents", report)
        served = Served(
            url=api.data_url(image.id),
            export=image.id,
            headers=login.path if api.login_headers else None,
            extents=None if holes is None else Path(room) / "extents",
            cacert=api.cacert,
            read_only=wish.read_only or wish.overlay is not None,
            patience=wish.patience,
            fetch=wish.fetch,
        )
        listener = stack.enter_context(listening(wish.place))
        said, theirs = os.pipe2(os.O_CLOEXEC)
        with os.fdopen(said, "rb", buffering=0) as words:
            try:
                program = stack.enter_context(
                    BoundProgram(
                        nbdkit.command(served),
                        stderr=theirs,
                        listener=listener.fileno(),
                        environment=_environment(wish.scratch),
                    )
                )
            finally:
                os.close(theirs)
            uri = wish.place.uri(image.id)
            is_new = False if wish.overlay is None else await _overlay(wish.overlay, uri, image, driver)
            ready(Ready(image, uri, driver, holes, is_new))
            await _Words(words, login, report).watch(program)


def _driver_of(image: ImageRecord) -> str:
    if image.size is None or image.status != "active":
        raise NoData(f"image {image.id} is {image.status}: only the data of an active image can be served")
    driver = _DRIVERS.get(image.disk_format or "")
    if driver is None:
        raise TargetRefused(f"image {image.id} has the format {image.disk_format}, which is no disk's")
    return driver


async def _write_extents(api: ImagesApi, image: ImageRecord, path: Path, report: Report) -> int | None:
    names = await Retrying(api, report)(lambda: fetch_names(DeltaApi(api), image.id))
    if names is None:
        report.note("where the image has holes is not known, as it does not lie in the service's blocks")
        return None
    try:
        return await _aside(lambda: write_extents(names, path))
    finally:
        names.close()


async def _overlay(file: Path, uri: str, image: ImageRecord, driver: str) -> bool:
    size = image.size if driver == "raw" else image.virtual_size
    return await _aside(lambda: prepare_overlay(file, Base(uri, image.id, driver, size)))


async def _aside(job: Callable[[], T]) -> T:
    lane = Lane("nbd")
    try:
        return await lane.submit(job)
    finally:
        lane.close(wait=False)


def _environment(scratch: Path | None) -> dict[str, str]:
    """No proxies, no passwords: nothing of ours but where programs are, and where there is room."""
    return {"PATH": os.defpath} | ({} if scratch is None else {"TMPDIR": str(scratch.absolute())})


class LoginFile:
    """The headers that make requests the caller's, in a file that nobody else can read."""

    def __init__(self, api: ImagesApi, image_id: str, path: Path, report: Report) -> None:
        self.path = path
        self._api, self._image_id, self._report = api, image_id, report
        self._retrying = Retrying(api, report, waits=())
        self._gone = False

    def write(self) -> None:
        """Puts the file in the place of the one before, if there was one."""
        lines = "".join(f"{name}: {value}\n" for name, value in self._api.login_headers.items())
        new = self.path.with_suffix(".new")
        with suppress(FileNotFoundError):
            new.unlink()
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(lines)
        new.rename(self.path)

    async def renew(self) -> None:
        """Asks for the image; if that took another login, it is written. A service that is away comes back."""
        before = dict(self._api.login_headers)
        try:
            await self._retrying(lambda: self._api.get_image(self._image_id))
        except (LoginNeeded, NotFound) as failure:
            if not self._gone:
                self._report.note(f"{failure}: what is read of the disk now waits")
            self._gone = True
            return
        except ClientError:
            return
        self._gone = False
        if dict(self._api.login_headers) != before:
            self.write()


class _Words:
    """What nbdkit says: told once in a while, and a refusal is a reason to look at the login."""

    def __init__(self, file: IO[bytes], login: LoginFile, report: Report) -> None:
        self._file, self._login, self._report = file, login, report
        self._told: dict[str, float] = {}
        self._last = "it says nothing"
        self._refused = asyncio.Event()

    async def watch(self, program: BoundProgram) -> None:
        """Raises Interrupted when nbdkit ends, which it does not by itself."""
        ended = asyncio.ensure_future(self._listen())
        refused = asyncio.ensure_future(self._refused.wait())
        try:
            while True:
                await asyncio.wait({ended, refused}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    raise Interrupted(f"nbdkit ended by itself (exit code {program.end(1.0)}): {self._last}")
                await self._login.renew()
                if refused.done():
                    self._refused.clear()
                    refused = asyncio.ensure_future(self._refused.wait())
        finally:
            ended.cancel()
            refused.cancel()

    async def _listen(self) -> None:
        lines = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), self._file)
        try:
            async for line in lines:
                self._hear(_NUMBER.sub("", line.decode(errors="replace")).strip())
        finally:
            transport.close()

    def _hear(self, line: str) -> None:
        self._last = line
        if _REFUSED.search(line):
            self._refused.set()
        if monotonic() - self._told.get(line, -_SAME_AGAIN_SECONDS) >= _SAME_AGAIN_SECONDS:
            self._told = {line: monotonic()} if len(self._told) > _MOST_TOLD else self._told | {line: monotonic()}
            self._report.note(line)
