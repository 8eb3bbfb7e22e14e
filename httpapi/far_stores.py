"""Stores that are far away, made of what a `stores_file` says of them: `s3` and `swift`."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from catalog.stores.memory_budget import FarMemory
from catalog.stores.s3 import S3Copies
from catalog.stores.s3_bucket import Bucket
from catalog.stores.s3_requests import Keys
from catalog.stores.swift import SwiftCopies
from catalog.stores.swift_login import Keystone, TempAuth, by_credential, by_password, of_project
from httpapi.store_kinds import secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from catalog.store_ports import StoreInfo
    from catalog.stores.swift_login import Login

TIME_OUT: Final = 10.0
SEGMENT_SIZE: Final = 256 << 20
_OF_USERS: Final = frozenset({"username", "password_file", "password_env", "user_domain", "project", "project_domain"})
_OF_KEYSTONE: Final = frozenset(
    {
        "user_domain",
        "project",
        "project_domain",
        "application_credential_id",
        "application_credential_secret_file",
        "application_credential_secret_env",
        "region",
        "interface",
    }
)
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


def swift_store(info: StoreInfo, said: Mapping[str, object]) -> SwiftCopies:
    """A store of type `swift`."""
    size = said.get("segment_size", SEGMENT_SIZE)
    assert isinstance(size, int)
    told = {name: str(said[name]) for name in ("auth_url", "username", "project", "region") if name in said}
    return SwiftCopies(
        info,
        str(said["container"]),
        _login(said),
        segment_size=size,
        patience=_patience(said),
        told=told,
        tls=_tls(_certificates(said)),
    )


def _login(said: Mapping[str, object]) -> Login:
    url = str(said["auth_url"])
    if said.get("auth_version", 3) == 1:
        _only(said, _OF_KEYSTONE, "Keystone, and auth_version is 1")
        return TempAuth(url, _word(said, "username"), _needed(said, "password"))
    if not url.endswith("/v3"):
        url += "/v3"
    if "application_credential_id" in said:
        _only(said, _OF_USERS, "users, and an application credential is named, which is one of its own project")
        secret_word = _needed(said, "application_credential_secret")
        identity, scope = by_credential(str(said["application_credential_id"]), secret_word), None
    else:
        domain = str(said.get("user_domain", "Default"))
        identity = by_password(_word(said, "username"), domain, _needed(said, "password"))
        scope = of_project(_word(said, "project"), str(said.get("project_domain", "Default")))
    region = said.get("region")
    return Keystone(url, identity, scope, str(said.get("interface", "public")), None if region is None else str(region))


def _only(said: Mapping[str, object], names: frozenset[str], whose: str) -> None:
    if odd := sorted(names.intersection(said)):
        raise ValueError(f"{', '.join(odd)} is a matter of {whose}.")


def _word(said: Mapping[str, object], name: str) -> str:
    if name not in said:
        raise ValueError(f"{name} is missing, or an application_credential_id in the place of a user.")
    return str(said[name])


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
