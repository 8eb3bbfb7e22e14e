from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from catalog.stores.s3_bucket import Bucket, opened
from catalog.stores.s3_requests import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SAID = {
    "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms",
    "AWS_SSE_KMS_KEY_ID": "another's",
    "AWS_CHECKSUM_ALGORITHM": "sha256",
    "AWS_REQUEST_PAYER": "true",
    "AWS_UNSIGNED_PAYLOAD": "true",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_S3_EXPRESS": "true",
    "aws_conditional_put": "disabled",
}


class Asked(BaseHTTPRequestHandler):
    """Takes whatever is put, and remembers what was said of it."""

    headers_of: list[Mapping[str, str]]

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.headers_of.append({name.lower(): text for name, text in self.headers.items()})
        self.send_response(200)
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Asked.headers_of = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_no_variable_of_amazons_changes_a_request_and_all_are_there_afterwards(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put() -> set[str]:
        bucket = Bucket("images", f"http://127.0.0.1:{server.server_port}", "here", Keys("user", "secret"))
        opened(bucket, 5.0).put("a", b"bytes")
        told = Asked.headers_of.pop()
        assert "Credential=user/" in told["authorization"]
        return told.keys() - {"x-amz-date", "authorization"}

    usual = put()
    for name, text in SAID.items():
        monkeypatch.setenv(name, text)
    assert put() == usual
    assert not [name for name in usual if "encryption" in name or "checksum" in name or "payer" in name]
    assert {name: os.environ.get(name) for name in SAID} == SAID
