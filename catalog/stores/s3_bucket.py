"""Where the objects of a store `s3` are, and obstore's client for them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from obstore.store import S3Store

from catalog.stores.outgoing.configured import CONNECT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import ClientConfig, S3Credential

    from catalog.stores.s3_requests import Keys

_RETRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a store's objects are, and as whom they are asked for.

    `endpoint` is the server's address, such as `https://s3.example.org`. `virtual_hosted`: the bucket is a part of the
    host's name, as AWS wants it, not of the path. `prefix` ends with a slash or is empty. `ca` is who signs the
    server's certificate, in PEM, where the system does not know it.
    """

    name: str
    endpoint: str
    region: str
    keys: Keys
    prefix: str = ""
    virtual_hosted: bool = False
    ca: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The bucket's own address."""
        parts = urlsplit(self.endpoint)
        if self.virtual_hosted:
            return f"{parts.scheme}://{self.name}.{parts.netloc}"
        return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/{self.name}"


def opened(bucket: Bucket, patience: float) -> S3Store:
    """Obstore's client: each request has the time that its caller gives it, what may be asked again is, a few times.

    obstore reads AWS's variables and those of proxies from the environment. Only what the operator says of this store
    counts: the first are out of its sight, and what the others could lead astray is said here.
    """
    keys, endpoint = bucket.keys, bucket.url if bucket.virtual_hosted else bucket.endpoint.rstrip("/")

    def credential() -> S3Credential:
        return {"access_key_id": keys.access, "secret_access_key": keys.secret, "token": None, "expires_at": None}

    options: ClientConfig = {
        "allow_http": urlsplit(bucket.endpoint).scheme == "http",
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "timeout": timedelta(hours=1),
        # A proxy for nobody, in the place of the environment's for all.
        "proxy_url": "http://127.0.0.1:9",
        "proxy_excludes": "*,0.0.0.0/0,::/0",
    }
    if bucket.ca is not None:
        options["root_certificate"] = bucket.ca
    with _without_variables():
        return S3Store(
            bucket.name,
            endpoint=endpoint,
            region=bucket.region,
            virtual_hosted_style_request=bucket.virtual_hosted,
            credential_provider=credential,
            client_options=options,
            retry_config={
                "max_retries": _RETRIES,
                "retry_timeout": timedelta(seconds=patience),
                "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
            },
        )


@contextmanager
def _without_variables() -> Iterator[None]:
    """Without AWS's variables, some of which can only be set and not be said to be nothing."""
    environment = os.environ  # noqa: TID251 - kept from the library, not read
    hidden = {name: environment.pop(name) for name in tuple(environment) if name.upper().startswith("AWS_")}
    try:
        yield
    finally:
        environment.update(hidden)
