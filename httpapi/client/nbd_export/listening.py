"""The socket that machines come to: made here, so that it is there, with its permissions, before anything serves it."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from httpapi.client.errors import TargetRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LONGEST_ADDRESS: Final = 107
_WAITING: Final = 16


@dataclass(frozen=True, slots=True)
class UnixPlace:
    """A unix socket, its user's alone, or its `group`'s too."""

    path: Path
    group: str | None = None

    def uri(self, export: str) -> str:
        """How NBD clients name the export."""
        return f"nbd+unix:///{export}?socket={quote(str(self.path))}"

    def blockdev(self) -> dict[str, object]:
        """QEMU's words for the server."""
        return {"type": "unix", "path": str(self.path)}


@dataclass(frozen=True, slots=True)
class TcpPlace:
    """A TCP port: whoever reaches it reads the image, without a login."""

    host: str
    port: int

    def uri(self, export: str) -> str:
        """How NBD clients name the export."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"nbd://{host}:{self.port}/{export}"

    def blockdev(self) -> dict[str, object]:
        """QEMU's words for the server."""
        return {"type": "inet", "host": self.host, "port": str(self.port)}


@contextmanager
def listening(place: UnixPlace | TcpPlace) -> Iterator[socket.socket]:
    """The socket, gone again afterwards. Raises TargetRefused where there cannot be one."""
    if isinstance(place, TcpPlace):
        with _tcp(place) as found:
            yield found
        return
    with _unix(place) as found:
        made = place.path.lstat()
        try:
            yield found
        finally:
            # Perhaps somebody else's by now, in which case it stays.
            with suppress(OSError):
                if os.path.samestat(made, place.path.lstat()):
                    place.path.unlink()


def _tcp(place: TcpPlace) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(_WAITING)
        except BaseException:
            found.close()
            raise
    except OSError as failure:
        raise TargetRefused(f"cannot listen on {place.host}:{place.port} ({failure.strerror})") from failure
    return found


def _unix(place: UnixPlace) -> socket.socket:
    if len(os.fsencode(place.path)) > _LONGEST_ADDRESS:
        raise TargetRefused(f"{place.path} is too long for a socket, {_LONGEST_ADDRESS} bytes are the most: shorten it")
    _remove_stale(place.path)
    found = socket.socket(socket.AF_UNIX)
    # Whoever may connect may read the image: nobody else, at no moment.
    before = os.umask(0o177)
    try:
        found.bind(str(place.path))
    except OSError as failure:
        found.close()
        raise TargetRefused(f"cannot make the socket {place.path} ({failure.strerror})") from failure
    finally:
        os.umask(before)
    try:
        if place.group is not None:
            _open_to(place.path, place.group)
        found.listen(_WAITING)
    except BaseException:
        place.path.unlink(missing_ok=True)
        found.close()
        raise
    return found


def _open_to(path: Path, group: str) -> None:
    import grp

    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(0o660)
    except KeyError:
        raise TargetRefused(f"there is no group {group} on this machine") from None
    except OSError as failure:
        raise TargetRefused(f"{path} cannot be given to the group {group} ({failure.strerror})") from failure


def _remove_stale(path: Path) -> None:
    """What one that was killed left; anything else is somebody's."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as failure:
        raise TargetRefused(f"cannot look at {path} ({failure.strerror})") from failure
    if not stat.S_ISSOCK(mode):
        raise TargetRefused(f"{path} exists and is no socket: choose another path")
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError as failure:
            raise TargetRefused(f"cannot use the socket {path} ({failure.strerror})") from failure
        else:
            raise TargetRefused(f"{path} is served already: choose another path, or end who serves it")
