"""Identity keystone from its settings: what must be there, where the password is, and whether it may go there."""

from __future__ import annotations

import ssl
import stat
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from httpapi.identity.keystone import KeystoneIdentity
from httpapi.identity.keystone_api import KeystoneApi, ServiceUser
from httpapi.settings import SettingsRefused
from httpapi.wire.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from httpapi.settings import Settings


def keystone_of(settings: Settings) -> KeystoneIdentity:
    """The identity that the settings name; opens no connection. Raises SettingsRefused with what to change."""
    url = _url(settings)
    user = ServiceUser(
        settings.keystone_username,
        _password(settings),
        project=settings.keystone_project,
        domain=settings.keystone_user_domain,
        project_domain=settings.keystone_project_domain,
    )
    if not settings.keystone_service_roles:
        raise SettingsRefused("keystone_service_roles names no role: service is the usual one.")
    try:
        api = KeystoneApi(url, user, timeout=settings.keystone_timeout, ca_file=settings.keystone_ca_file)
    except ssl.SSLError:
        raise SettingsRefused(
            f"keystone_ca_file {settings.keystone_ca_file} holds no certificates in PEM form."
        ) from None
    except OSError as error:
        raise SettingsRefused(
            f"keystone_ca_file {settings.keystone_ca_file} cannot be read ({error.strerror})."
        ) from error
    return KeystoneIdentity(
        api,
        public_url=versioned(settings.keystone_public_url or url),
        service_roles=settings.keystone_service_roles,
        remember=settings.keystone_cache_time,
    )


def odd_keystone(settings: Settings) -> Iterator[str]:
    """What somebody should know of these settings, a sentence each."""
    if settings.identity != "keystone":
        return
    file = settings.keystone_password_file
    if file is not None and _is_open(file):
        yield f"keystone_password_file {file} is open to everybody on this machine: chmod o= {file}"
    if settings.keystone_cache_time > 3600:
        yield (
            f"keystone_cache_time {settings.keystone_cache_time:g} s: for so long a revoked token or a user who was "
            "locked out is let in."
        )


def _is_open(file: Path) -> bool:
    try:
        return bool(stat.S_IMODE(file.stat().st_mode) & 0o007)
    except OSError:
        # That it cannot be read is told as a problem.
        return False


def _url(settings: Settings) -> str:
    if settings.keystone_auth_url is None:
        raise SettingsRefused(
            "identity keystone needs keystone_auth_url, such as https://keystone.example.org:5000/v3."
        )
    parts = urlsplit(settings.keystone_auth_url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or "") and not settings.keystone_insecure:
        raise SettingsRefused(
            f"keystone_auth_url {settings.keystone_auth_url} would send the service user's password and every token "
            "in the clear over the network: name an https address; keystone_insecure allows it all the same."
        )
    return versioned(settings.keystone_auth_url)


def versioned(url: str) -> str:
    """Keystone's address with its version, whether or not it was said."""
    return url if url.endswith("/v3") else f"{url}/v3"


def _password(settings: Settings) -> str:
    told, file = settings.keystone_password, settings.keystone_password_file
    if told is not None and file is not None:
        raise SettingsRefused("keystone_password and keystone_password_file are both set: leave one out.")
    if told is not None:
        return told.revealed
    if file is None:
        raise SettingsRefused(
            f"identity keystone needs the password of the user {settings.keystone_username!r}: set "
            "keystone_password_file, or the variable DRYSTONE_KEYSTONE_PASSWORD."
        )
    try:
        password = file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsRefused(f"keystone_password_file {file} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError:
        raise SettingsRefused(f"keystone_password_file {file} is not UTF-8.") from None
    if not password:
        raise SettingsRefused(f"keystone_password_file {file} is empty.")
    return password
