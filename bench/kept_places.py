"""Places that keep copies of images and can be killed: a file on a volume, the real SeaweedFS, the real Swift."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.counting_proxy import CountingProxy
from bench.show.server import tree
from bench.volume import Volume
from tests.kit.real_s3 import ACCESS_KEY, SECRET_KEY, S3Server
from tests.kit.real_swift import KEY, USER, SwiftServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.show.server import Server

PIECE = 1 << 20


class KeptPlace(Protocol):
    """A store as a check sees it; `name` is the store's."""

    name: str

    def table(self) -> str:
        """What `stores_file` has of it, but for its weight."""
        ...

    def kill(self) -> None:
        """What is read from it now breaks off."""
        ...

    def back(self) -> None:
        """Be there again, with all that it had."""
        ...

    def copies(self) -> int:
        """How many copies it keeps."""
        ...

    def taken(self, server: Server) -> int:
        """A number that grows by PIECE at least when so much is read from here, or is PIECE while a copy is open."""
        ...


class OnVolume:
    """A `file` store on a volume of its own."""

    name = "fast"

    def __init__(self, volume: Volume) -> None:
        self.volume = volume

    def table(self) -> str:
        """As the protocol has it, and so the others."""
        mount = self.volume.mount_point
        return f'type = "file"\ndirectory = "{mount}/images"\nmount_point = "{mount}"\nvolatile = true\n'

    def kill(self) -> None:
        """By the file system's own way to die."""
        self.volume.die()

    def back(self) -> None:
        """Mounted anew."""
        self.volume.unmount()
        self.volume.mount()

    def copies(self) -> int:
        """By their names: 0c/0c1f….RANDOM."""
        return sum(1 for path in self.volume.mount_point.glob("images/??/*") if path.is_file())

    def taken(self, server: Server) -> int:
        """Whether a file on the volume is open."""
        within = f"{self.volume.mount_point}/"
        for pid in tree(server.pid):
            for each in Path(f"/proc/{pid}/fd").glob("*"):
                with contextlib.suppress(OSError):
                    if str(each.readlink()).startswith(within):
                        return PIECE
        return 0


class InS3:
    """An `s3` store behind a proxy that counts what leaves it."""

    name = "deep"

    def __init__(self, server: S3Server, proxy: CountingProxy) -> None:
        self._server = server
        self._proxy = proxy

    def table(self) -> str:
        return (
            f'type = "s3"\nbucket = "images"\nendpoint = "{self._proxy.url}"\n'
            'access_key_env = "SHOW_ACCESS"\nsecret_key_env = "SHOW_SECRET"\n'
        )

    def kill(self) -> None:
        self._server.kill()

    def back(self) -> None:
        self._server.start()

    def copies(self) -> int:
        return len(self._server.objects())

    def unfinished(self) -> int:
        """How many uploads were begun and neither ended nor given up."""
        return len(self._server.unfinished())

    def taken(self, server: Server) -> int:  # noqa: ARG002 - its own connections tell
        return self._proxy.down


class InSwift:
    """A `swift` store; it tells of each request in its log, when that has ended."""

    name = "object"

    def __init__(self, server: SwiftServer, root: Path) -> None:
        self._server = server
        self._log = root / "swift.log"

    def table(self) -> str:
        return (
            f'type = "swift"\ncontainer = "images"\nauth_version = 1\nauth_url = "{self._server.auth_url}"\n'
            f'username = "{USER}"\npassword_env = "SHOW_SWIFT"\n'
        )

    def kill(self) -> None:
        self._server.kill()

    def back(self) -> None:
        self._server.start()

    def copies(self) -> int:
        return len(self._server.objects())

    def taken(self, server: Server) -> int:  # noqa: ARG002 - its own log tells
        # "GET /v1/AUTH_drystone/images/0c1f…": the proxy server's requests alone are by accounts' names.
        return PIECE * len(re.findall(r'"GET /v1/[^/]+/images(?:_segments)?/', self._log.read_text(errors="replace")))


@contextlib.contextmanager
def places(room: Path, size: int, *, swift: bool) -> Iterator[Sequence[KeptPlace]]:
    """A volume that has room for twice `size` bytes, SeaweedFS and, if it is wanted, Swift."""
    with contextlib.ExitStack() as stack:
        volume = stack.enter_context(Volume(room / "volume.img", room / "fast", 2 * size + (64 << 20)))
        s3 = stack.enter_context(S3Server(room / "s3"))
        found: list[KeptPlace] = [OnVolume(volume), InS3(s3, stack.enter_context(CountingProxy(s3.port)))]
        if swift:
            found.append(InSwift(stack.enter_context(SwiftServer(room / "swift")), room / "swift"))
        yield found


SECRETS = {"SHOW_ACCESS": ACCESS_KEY, "SHOW_SECRET": SECRET_KEY, "SHOW_SWIFT": KEY}
"""The variables that `stores_file` names."""


def stores_file(path: Path, kept: Sequence[KeptPlace], heaviest: str) -> Path:
    """Written to `path`: our blocks, and these; the heaviest of them first, then in their order."""
    order = sorted(kept, key=lambda place: place.name != heaviest)
    tables = [
        f"[stores.{place.name}]\n{place.table()}weight = {100 - 10 * number}\n" for number, place in enumerate(order)
    ]
    path.write_text("\n".join(["[stores.blocks]\nweight = 10\ndefault = true\n", *tables]), encoding="utf-8")
    return path
