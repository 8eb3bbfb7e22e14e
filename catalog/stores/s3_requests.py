"""What S3 can do and obstore does not: ask for a bucket, and list and abort multipart uploads that nobody finished.

Requests are signed by AWS's Signature Version 4 (docs.aws.amazon.com, "Authenticating Requests: Using the Authorization
Header"), without a body.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from blockstore import clock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from catalog.stores.outgoing.configured import ConfiguredClient, Reply

_NOTHING: Final = hashlib.sha256(b"").hexdigest()
_UPLOAD: Final = re.compile(rb"<Upload>(.*?)</Upload>", re.DOTALL)
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


@dataclass(frozen=True, slots=True)
class Keys:
    """What lets in; the secret is shown nowhere."""

    access: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload under way, or left by somebody who was killed."""

    key: str
    id: str


class BucketRequests:
    """Signed requests to one bucket, whose URL is `bucket_url`."""

    def __init__(self, bucket_url: str, region: str, keys: Keys, client: ConfiguredClient) -> None:
        self._url = bucket_url.rstrip("/")
        self._region = region
        self._keys = keys
        self._client = client

    async def look(self, prefix: str) -> Reply:
        """Ask for one key: whether the bucket is there and may be listed. Raises NoAnswer."""
        return await self._ask("GET", "", {"list-type": "2", "max-keys": "1", "prefix": prefix})

    async def uploads(self, key: str) -> tuple[Reply, Sequence[Upload]]:
        """The unfinished uploads of a key, up to a thousand. Raises NoAnswer."""
        reply = await self._ask("GET", "", {"max-uploads": "1000", "prefix": key, "uploads": ""})
        found = [Upload(_text(each, b"Key"), _text(each, b"UploadId")) for each in _UPLOAD.findall(reply.body)]
        return reply, [upload for upload in found if upload.key == key]

    async def abort(self, upload: Upload) -> Reply:
        """Let an upload go with all its parts. Raises NoAnswer."""
        return await self._ask("DELETE", f"/{quote(upload.key, safe='/-_.~')}", {"uploadId": upload.id})

    async def _ask(self, method: str, path: str, query: Mapping[str, str]) -> Reply:
        words = "&".join(f"{quote(name, safe='-_.~')}={quote(text, safe='-_.~')}" for name, text in query.items())
        url = f"{self._url}{path or '/'}"
        headers = signed(method, url, words, self._region, self._keys, clock.now())
        return await self._client.ask(method, f"{url}?{words}", headers)


def signed(method: str, url: str, query: str, region: str, keys: Keys, now: datetime) -> Mapping[str, str]:
    """The headers that sign a request without a body; `query` is encoded and in the order of its names."""
    parts = urlsplit(url)
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": parts.netloc, "x-amz-content-sha256": _NOTHING, "x-amz-date": moment}
    names = ";".join(headers)
    lines = "".join(f"{name}:{text}\n" for name, text in headers.items())
    request = "\n".join((method, parts.path or "/", query, lines, names, _NOTHING))
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{keys.secret}".encode()
    for word in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "Authorization": f"AWS4-HMAC-SHA256 {credential}"}


def error_code(said: bytes) -> str:
    """The name of an error in S3's answer, such as `NoSuchBucket`; empty if it has none."""
    found = _CODE.search(said)
    return found[1].decode() if found else ""


def _text(document: bytes, name: bytes) -> str:
    found = re.search(rb"<%b>(.*?)</%b>" % (name, name), document, re.DOTALL)
    return html.unescape(found[1].decode()) if found else ""
