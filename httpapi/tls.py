"""TLS: one certificate with its key, read again while the server runs when their files change.

Both files are read once and then used from memory, first in a context that nobody uses, where a handshake of it with
itself shows that they belong together and what clients will see. Only a pair that came through this reaches the
context that listens: a half-written file, or a new certificate whose key is still on its way, is logged and changes
nothing. Connections that are open keep the certificate that they began with.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from blockstore import clock
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_log = logging.getLogger("drystone.tls")
WATCH_SECONDS: Final = 3.0
SOON: Final = timedelta(days=14)

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# X509_V_FLAG_NO_CHECK_TIME of OpenSSL: the times are looked at afterwards, to be told.
_ANY_TIME: Final = 0x200000


@dataclass(frozen=True, slots=True)
class Certificate:
    """What clients see: whom it is made out to, for which names, and from when until when (UTC)."""

    subject: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    def __str__(self) -> str:
        names = f" ({', '.join(self.names)})" if self.names else ""
        return f"{self.subject}{names}, valid until {self.ends:%Y-%m-%d %H:%M} UTC"

    def refusal(self, now: datetime) -> str | None:
        """Why no client would take it at `now`; None if it can be used."""
        if self.ends <= now:
            return f"the certificate {self.subject} has expired on {self.ends:%Y-%m-%d %H:%M} UTC: renew it."
        if self.begins > now:
            return f"the certificate {self.subject} is not valid before {self.begins:%Y-%m-%d %H:%M} UTC."
        return None

    def warning(self, now: datetime) -> str | None:
        """What must be done soon; None if there is time."""
        if now < self.ends <= now + SOON:
            left = max(1, round((self.ends - now) / timedelta(days=1)))
            return f"The certificate {self.subject} expires in {left} days, on {self.ends:%Y-%m-%d}: renew it."
        return None


@dataclass(frozen=True, slots=True)
class _Pair:
    """The bytes of both files, and how the files looked when they were read."""

    certificate: bytes
    key: bytes


class Tls:
    """The context that listens, and the pair that is in it; raises SettingsRefused when the files cannot be used."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._seen = self._look()
        self.context = _new_context()
        self.certificate = self._take(self.context)
        self._refused = ""

    def read_again(self, *, asked: bool = False) -> None:
        """Take what the files hold now if they changed, or if somebody `asked`; what cannot be used is logged.

        It is tried again at each look: a right that was missing, a date to come or too many open files change no file.
        """
        seen = self._look()
        if seen == self._seen and not asked and not self._refused:
            return
        told = self._refused if seen == self._seen and not asked else ""
        self._seen = seen
        try:
            self.certificate = self._take(self.context)
        except (SettingsRefused, OSError) as refusal:
            self._refused = str(refusal)
            if self._refused != told:
                _log.error("The TLS files have changed and cannot be used, the old ones stay in use: %s", refusal)
            return
        self._refused = ""
        _log.info("New TLS certificate: %s", self.certificate)
        if (soon := self.certificate.warning(clock.now())) is not None:
            _log.warning(soon)

    async def watch(self, asked: asyncio.Event) -> None:
        """Look at the files every few seconds, and at once when `asked`, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    await asked.wait()
            except TimeoutError:
                self.read_again()
            else:
                asked.clear()
                self.read_again(asked=True)

    def _take(self, context: ssl.SSLContext) -> Certificate:
        pair = _Pair(_content("tls_certificate", self._files[0]), _content("tls_key", self._files[1]))
        found = _examined(pair, *self._files)
        if (refusal := found.refusal(clock.now())) is not None:
            raise SettingsRefused(f"tls_certificate {self._files[0]}: {refusal}")
        _load(context, pair)
        return found

    def _look(self) -> tuple[object, ...]:
        return tuple(_state_of(path) for path in self._files)


def examine(certificate: Path, key: Path) -> Certificate:
    """What is in the two files; raises SettingsRefused when they cannot be used together. Times are not judged."""
    return _examined(_Pair(_content("tls_certificate", certificate), _content("tls_key", key)), certificate, key)


def _state_of(path: Path) -> object:
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_mtime_ns, found.st_ino, found.st_size


def _content(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsRefused(f"{setting} {path} cannot be read: {error.strerror}.") from error


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _examined(pair: _Pair, certificate: Path, key: Path) -> Certificate:
    first = _CERTIFICATE.search(pair.certificate)
    if first is None:
        raise SettingsRefused(f"tls_certificate {certificate} holds no certificate in PEM format.")
    if b"PRIVATE KEY-----" not in pair.key:
        raise SettingsRefused(f"tls_key {key} holds no private key in PEM format.")
    context = _new_context()
    try:
        _load(context, pair)
        return _certificate_of(_seen_by_client(context, ssl.PEM_cert_to_DER_cert(first[0].decode("ascii"))))
    except _Encrypted:
        raise SettingsRefused(f"tls_key {key} is locked with a passphrase: the server needs one without.") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsRefused(
                f"The key {key} does not belong to the certificate {certificate}: tls_certificate begins with the "
                "server's own certificate, and tls_key is its private key."
            ) from error
        reason = getattr(error, "verify_message", None) or (error.reason or str(error)).replace("_", " ").lower()
        raise SettingsRefused(f"{certificate} with the key {key} cannot be used for TLS: {reason}.") from error
    except ValueError as error:
        raise SettingsRefused(f"tls_certificate {certificate} holds a broken certificate: {error}.") from error


class _Encrypted(Exception):
    """The key asks for a passphrase."""


def _no_passphrase() -> str:
    raise _Encrypted


def _load(context: ssl.SSLContext, pair: _Pair) -> None:
    """Put the pair into a context: from memory, since the files may be others by now, by the paths that ssl wants."""
    with ExitStack() as open_files:
        certificate, key = (_in_memory(content, open_files) for content in (pair.certificate, pair.key))
        context.load_cert_chain(certificate, key, password=_no_passphrase)


def _in_memory(content: bytes, open_files: ExitStack) -> str:
    """The path of a file that has no place on any disk."""
    file = open_files.enter_context(os.fdopen(os.memfd_create("drystone-tls", os.MFD_CLOEXEC), "wb"))
    file.write(content)
    file.flush()
    return f"/proc/self/fd/{file.fileno()}"


def _seen_by_client(server_context: ssl.SSLContext, leaf: bytes) -> Mapping[str, Any]:
    """The server's certificate as a client that trusts it alone is told of it, by a handshake in memory."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_flags = ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _ANY_TIME)
    client_context.load_verify_locations(cadata=leaf)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    # Each side in turn, as often as a handshake of any version needs.
    for side in (client, server) * 4:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.getpeercert() or {}


def _certificate_of(told: Mapping[str, Any]) -> Certificate:
    subject = {name: value for part in told.get("subject", ()) for name, value in part}
    names = tuple(value for kind, value in told.get("subjectAltName", ()) if kind in {"DNS", "IP Address"})
    return Certificate(
        subject=subject.get("commonName") or (names[0] if names else "without a name"),
        names=names,
        begins=_moment(told["notBefore"]),
        ends=_moment(told["notAfter"]),
    )


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
