"""Stores that are far away, made of what a `stores_file` says of them: `s3` and `swift`."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from catalog.stores.memory_budget import FarMemory
from catalog.stores.s3 import S3Copies
from catalog.stores.s3_bucket import Bucket
from catalog.stores.s3_requests import Keys
from httpapi.store_kinds import secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from catalog.store_ports import StoreInfo

TIME_OUT: Final = 10.0
_MEMORY: Final = FarMemory()
"""One for all stores of the process."""


def s3_store(info: StoreInfo, said: Mapping[str, object]) -> S3Copies:
    """A store of type `s3`."""
    region, endpoint = str(said.get("region", "us-east-1")), said.get("endpoint")
    addressing = said.get("addressing", "virtual" if endpoint is None else "path")
    ca = _certificates(said)
    bucket = Bucket(
        str(said["bucket"]),
        str(endpoint or f"https://s3.{region}.amazonaws.com"),
        region,
        Keys(_needed(said, "access_key"), _needed(said, "secret_key")),
        prefix=str(said.get("prefix", "")),
        # A name with dots in it is no part of a name that a certificate covers.
        virtual_hosted=addressing == "virtual" and "." not in str(said["bucket"]),
        ca=ca,
    )
    return S3Copies(info, bucket, _MEMORY, patience=_patience(said), tls=_tls(ca))


def _needed(said: Mapping[str, object], name: str) -> str:
    found = secret(said, name)
    if found is None:
        raise ValueError(f"{name}_file or {name}_env must say where its {name.replace('_', ' ')} is.")
    if not found.revealed.isascii() or not found.revealed.isprintable():
        raise ValueError(f"what {name}_file or {name}_env names must be one line of plain characters.")
    return found.revealed


def _patience(said: Mapping[str, object]) -> float:
    seconds = said.get("time_out", TIME_OUT)
    assert isinstance(seconds, float)
    return seconds


def _certificates(said: Mapping[str, object]) -> str | None:
    """Who signs the server's certificate, in PEM."""
    path: Path | None = said.get("ca_file")  # type: ignore[assignment]  # as its reader gives it
    if path is None:
        return None
    try:
        found = path.read_text(encoding="ascii")
        _tls(found)
    except (OSError, ValueError) as error:
        raise ValueError(f"ca_file {path} has no certificates that can be used: {error}.") from None
    return found


def _tls(ca: str | None) -> ssl.SSLContext:
    """Whom the system trusts, and these."""
    trusted = ssl.create_default_context()
    if ca is not None:
        trusted.load_verify_locations(cadata=ca)
    return trusted
