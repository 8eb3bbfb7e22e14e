"""OpenStack's clouds.yaml: a way in by Keystone or without. PyYAML's one home.

As openstacksdk does: the first clouds.yaml in this directory, the user's and the machine's configuration counts, and
what the first secure.yaml says of the cloud is laid over it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from httpapi.client.auth import Access, Login
from httpapi.client.auth_keystone import AUTH_TYPES, WORDS, Cloud, log_in
from httpapi.client.errors import AccessRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_KNOWN: Final = "password, v3password, v3token, v3applicationcredential, none and http_basic work"


def cloud_access(
    name: str,
    directories: Sequence[Path],
    *,
    file: Path | None = None,
    cacert: Path | None = None,
    insecure: bool = False,
) -> Access:
    """The access to the cloud `name`; `file` goes before the directories. Raises AccessRefused with a sentence.

    It logs in where Keystone is asked for; `cacert` and `insecure` then go before what is said of the cloud.
    """
    clouds, path = _clouds(directories, file)
    if name not in clouds:
        known = ", ".join(sorted(map(str, clouds))) or "none"
        raise AccessRefused(f"{path} has no cloud {name!r}: its clouds are {known}")
    cloud = _merged(_mapping(clouds[name], path), _secrets(name, directories))
    auth = _mapping(cloud.get("auth") or {}, path)
    where = f"the cloud {name!r} in {path}"
    auth_type = _auth_type(cloud, auth)
    if auth_type in AUTH_TYPES:
        texts = {word: _text(auth.get(word) or cloud.get(word)) for word in WORDS}
        return log_in(
            Cloud(
                words={word: text for word, text in texts.items() if text},
                auth_type=auth_type,
                source=where,
                endpoint=_text(cloud.get("image_endpoint_override")),
                region=_text(cloud.get("region_name")),
                interface=_text(cloud.get("interface")),
                cacert=cacert or _cacert(cloud, where),
                insecure=insecure,
            )
        )
    return Access(
        endpoint=_endpoint(cloud, auth, where),
        source=f"{where}",
        login=_login(cloud, auth, where),
        project=_text(auth.get("project_id") or cloud.get("project_id")),
        cacert=_cacert(cloud, where),
    )


def refuse_type(auth_type: str, where: str) -> AccessRefused:
    """The error for an auth type that this client does not have."""
    return AccessRefused(f"{where} wants {auth_type!r}, which this client cannot do: {_KNOWN}")


def _clouds(directories: Sequence[Path], file: Path | None) -> tuple[Mapping[object, object], Path]:
    found = [file] if file is not None else _named("clouds", directories)
    if not found:
        places = ", ".join(str(directory) for directory in directories)
        raise AccessRefused(f"a cloud is asked for and there is no clouds.yaml in any of {places}")
    path = found[0]
    return _mapping(_load(path).get("clouds") or {}, path), path


def _secrets(name: str, directories: Sequence[Path]) -> Mapping[object, object]:
    for path in _named("secure", directories)[:1]:
        clouds = _mapping(_load(path).get("clouds") or {}, path)
        return _mapping(clouds.get(name) or {}, path)
    return {}


def _named(stem: str, directories: Sequence[Path]) -> list[Path]:
    candidates = [directory / f"{stem}{suffix}" for directory in directories for suffix in _SUFFIXES]
    return [path for path in candidates if path.is_file()]


def _load(path: Path) -> Mapping[object, object]:
    try:
        with path.open("rb") as file:
            document = yaml.safe_load(file)
    except OSError as failure:
        raise AccessRefused(f"{path} cannot be read ({failure.strerror})") from failure
    except yaml.MarkedYAMLError as failure:
        # The library's own text quotes the line, which may hold a password.
        mark = failure.problem_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise AccessRefused(f"{path}{line} is not YAML: {failure.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise AccessRefused(f"{path} is not YAML") from None
    return _mapping(document or {}, path)


def _mapping(value: object, path: Path) -> Mapping[object, object]:
    if not isinstance(value, dict):
        raise AccessRefused(f"{path} is no file of clouds: expected clouds, and below it names with their settings")
    return value


def _merged(below: Mapping[object, object], above: Mapping[object, object]) -> Mapping[object, object]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _endpoint(cloud: Mapping[object, object], auth: Mapping[object, object], where: str) -> str:
    auth_type = _auth_type(cloud, auth)
    if auth_type not in {"none", "http_basic"}:
        raise refuse_type(auth_type, where)
    endpoint = _text(cloud.get("image_endpoint_override") or auth.get("endpoint") or cloud.get("endpoint"))
    if endpoint is None:
        raise AccessRefused(f"{where} names no address: give it image_endpoint_override, such as http://HOST:9292/v2")
    return endpoint


def _auth_type(cloud: Mapping[object, object], auth: Mapping[object, object]) -> str:
    """Without one, openstacksdk means a password for Keystone."""
    return _text(cloud.get("auth_type") or auth.get("auth_type")) or "password"


def _login(cloud: Mapping[object, object], auth: Mapping[object, object], where: str) -> Login | None:
    if _auth_type(cloud, auth) == "none":
        return None
    user, password = _text(auth.get("username")), _text(auth.get("password"))
    if user is None or password is None:
        raise AccessRefused(f"{where} has auth_type http_basic and lacks auth.username or auth.password")
    return Login(user, password)


def _cacert(cloud: Mapping[object, object], where: str) -> Path | None:
    if cloud.get("verify") is False or cloud.get("insecure") is True:
        raise AccessRefused(
            f"{where} switches the check of certificates off, which drystone does not do: "
            "name the file of the authority as cacert instead"
        )
    cacert = _text(cloud.get("cacert"))
    return None if cacert is None else Path(cacert).expanduser()


def _text(value: object) -> str | None:
    """YAML reads a password of digits as a number."""
    return None if value is None or isinstance(value, bool) else str(value)
