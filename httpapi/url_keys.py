"""The file with the keys of signed URLs, which all processes of a service share: the last one signs, all of them count.

A line is a key: its id in hex, when it was made, its secret in base64url. The file is looked at whenever a key is
wanted, so a key that was added or taken away counts at once, in all processes. A server does not start over a broken
one; while it is broken later no URL is signed and none is read, since a key that was to go may be one that was read
before.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from blockstore import clock
from catalog.model.errors import UrlKeysUnavailable
from catalog.tickets import UrlKey
from httpapi.private_file import locked_directory, write_private
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from httpapi.settings import Settings

FILE_NAME: Final = "url-keys"
"""The file in the data directory, where no other is named."""

_log = logging.getLogger("drystone.url_keys")
_HEAD: Final = "# Keys of signed URLs: the last one signs, all of them count. See `drystone admin url-keys --help`.\n"
_ID: Final = 6
_SECRET: Final = 32
_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A key in the file, and when it was made."""

    key: UrlKey
    made: datetime

    def line(self) -> str:
        """Its line."""
        secret = base64.urlsafe_b64encode(self.key.secret).decode().rstrip("=")
        return f"{self.key.id.hex()} {self.made:%Y-%m-%dT%H:%M:%SZ} {secret}\n"


class KeyFile:
    """`catalog.tickets.UrlKeys` over the file; a missing one has no keys yet."""

    def __init__(self, path: Path) -> None:
        """Reads it; raises SettingsRefused."""
        self.path = path
        self._seen = self._signature()
        self._keys: Sequence[KeptKey] | None = read(path)

    def find(self, key_id: bytes) -> UrlKey | None:
        """The key with this id, as the file has it now."""
        return next((each.key for each in self._current() if each.key.id == key_id), None)

    async def newest(self) -> UrlKey:
        """The last key; the first one is made when there is none."""
        keys = self._current()
        if keys:
            return keys[-1].key
        return (await asyncio.to_thread(self._made)).key

    def _made(self) -> KeptKey:
        try:
            return first(self.path)
        except (OSError, SettingsRefused) as error:
            raise UrlKeysUnavailable(f"No key of signed URLs can be made in {self.path}: {error}.") from error

    def _current(self) -> Sequence[KeptKey]:
        signature = self._signature()
        if signature != self._seen:
            self._seen, self._keys = signature, None
            try:
                self._keys = read(self.path)
            except SettingsRefused as refusal:
                _log.error("%s Until it is mended no URL is signed, and no signed URL is read.", refusal)
        if self._keys is None:
            raise UrlKeysUnavailable(f"The keys of signed URLs in {self.path} cannot be read.")
        return self._keys

    def _signature(self) -> object:
        try:
            found = self.path.stat()
        except OSError as error:
            return error.errno
        return found.st_ino, found.st_mtime_ns, found.st_size


def path_of(settings: Settings) -> Path:
    """Where the keys are."""
    return settings.url_keys_file or settings.data / FILE_NAME


def url_keys_of(settings: Settings) -> KeyFile | None:
    """The keys that the settings name; none where no URLs are signed. Raises SettingsRefused."""
    return KeyFile(path_of(settings)) if settings.signed_urls else None


def describe_keys(settings: Settings) -> str:
    """What is signed with what, in a few words. Raises SettingsRefused."""
    if not settings.signed_urls:
        return "none: signed_urls is off"
    path = path_of(settings)
    keys = read(path)
    count = "no key yet" if not keys else "1 key" if len(keys) == 1 else f"{len(keys)} keys"
    return f"for {settings.signed_url_longest / 3600:g} h at most; {count} in {path}"


def read(path: Path) -> tuple[KeptKey, ...]:
    """The keys of the file, the oldest first; none where there is no file. Raises SettingsRefused."""
    try:
        if path.stat().st_mode & _OTHERS:
            _log.warning("%s can be read by others, who could sign URLs: chmod 600 %s", path, path)
        text = path.read_text(encoding="ascii")
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise SettingsRefused(f"The file of keys {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingsRefused(f"The file of keys {path} is not ASCII.") from error
    lines = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return tuple(_key_in(words, number, path) for number, words in enumerate(lines, 1))


def first(path: Path) -> KeptKey:
    """The key that signs, made now if there is none; raises OSError, SettingsRefused."""
    with locked_directory(path.parent):
        keys = read(path)
        if keys:
            return keys[-1]
        return _write(path, (), _new())[-1]


def added(path: Path) -> KeptKey:
    """A new key, which signs from now on. Raises as `first`."""
    with locked_directory(path.parent):
        return _write(path, read(path), _new())[-1]


def removed(path: Path, key_id: str) -> bool:
    """Take a key away, by its id in hex; False if there is none. Raises as `first`."""
    with locked_directory(path.parent):
        keys = read(path)
        left = [each for each in keys if each.key.id.hex() != key_id]
        if len(left) == len(keys):
            return False
        _write(path, left)
        return True


def _new() -> KeptKey:
    """A new key, in no file yet."""
    return KeptKey(UrlKey(secrets.token_bytes(_ID), secrets.token_bytes(_SECRET)), clock.now())


def _write(path: Path, keys: Sequence[KeptKey], *more: KeptKey) -> Sequence[KeptKey]:
    everything = [*keys, *more]
    write_private(path, _HEAD + "".join(each.line() for each in everything))
    return everything


def _key_in(words: Sequence[str], number: int, path: Path) -> KeptKey:
    try:
        key_id, at, secret = words
        key = UrlKey(bytes.fromhex(key_id), base64.b64decode(secret + "=", altchars=b"-_", validate=True))
        when = datetime.strptime(at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except (ValueError, binascii.Error):
        key, when = None, None
    if key is None or when is None or len(key.id) != _ID or len(key.secret) != _SECRET:
        # Not what stands there: it may be a secret.
        raise SettingsRefused(
            f"The file of keys {path} has no key as its key {number}: a line is an id, a time and a secret, "
            "as `drystone admin url-keys add` writes it."
        )
    return KeptKey(key, when)
