"""Where the service is and who asks: flags, variables, clouds.yaml, the stored login, and which of them goes first.

The only place on the client's side that reads environment variables. What is found together stays together: a login
is used with the address that it was found with, so that no password goes to a service that it was not meant for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from httpapi.client.auth import Access, Login, TokenLogin, check_endpoint, login_in, place_of
from httpapi.client.auth_store import read_logins
from httpapi.client.errors import AccessRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

USUAL_ENDPOINT: Final = "http://127.0.0.1:9292"
# The first one that is set counts; the OS_ names are those of OpenStack's clients.
ENDPOINT_VARIABLES: Final = ("DRYSTONE_ENDPOINT", "OS_IMAGE_ENDPOINT_OVERRIDE", "OS_ENDPOINT")
PROJECT_VARIABLES: Final = ("DRYSTONE_PROJECT", "OS_PROJECT_ID")
LOGIN_VARIABLES: Final = ("DRYSTONE_USER", "DRYSTONE_PASSWORD")
CACERT_VARIABLES: Final = ("DRYSTONE_CACERT", "OS_CACERT")
OTHER_VARIABLES: Final = (
    "OS_CLOUD", "OS_CLIENT_CONFIG_FILE", "OS_AUTH_TYPE", "OS_USERNAME", "OS_PASSWORD", "OS_AUTH_URL", "OS_REGION_NAME",
    "OS_INTERFACE",
)  # fmt: skip
INSECURE_VARIABLE: Final = "DRYSTONE_INSECURE"
_SYSTEM_CLOUDS: Final = Path("/etc/openstack")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the flags say; None where they say nothing."""

    endpoint: str | None = None
    cloud: str | None = None
    cacert: Path | None = None
    insecure: bool = False


def find_access(asked: Asked, environment: Mapping[str, str] | None = None) -> Access:
    """The first that is there of: --endpoint, --os-cloud, DRYSTONE_*, OS_CLOUD, OS_*, the stored login, loopback.

    Raises a ClientError with a sentence when what is there cannot be used: the next one would be a surprise.
    """
    variables = os.environ if environment is None else environment
    found = (
        _by_flag(asked, variables)
        or _by_variables(variables)
        or _by_cloud(asked, variables)
        or _by_openstack(asked, variables)
        or _by_store(variables)
        or Access(USUAL_ENDPOINT, "the default")
    )
    return _with_the_rest(found, asked, variables)


def credentials_path(environment: Mapping[str, str] | None = None) -> Path:
    """The file of stored logins."""
    variables = os.environ if environment is None else environment
    return _configuration(variables) / "drystone" / "credentials.toml"


def state_path(environment: Mapping[str, str] | None = None) -> Path:
    """The directory of what the verbs remember from one call to the next; nothing in it is missed when it is gone."""
    variables = os.environ if environment is None else environment
    return (_path("XDG_STATE_HOME", variables) or _home(variables) / ".local/state") / "drystone"


def user_name(environment: Mapping[str, str] | None = None) -> str | None:
    """How this machine calls whoever sits before it."""
    variables = os.environ if environment is None else environment
    return _first(("USER", "LOGNAME"), variables)


def _by_flag(asked: Asked, variables: Mapping[str, str]) -> Access | None:
    if asked.endpoint is not None and asked.cloud is not None:
        raise AccessRefused("--endpoint and --os-cloud both say where the service is: give one of them")
    if asked.cloud is not None:
        return _cloud(asked.cloud, asked, variables)
    return None if asked.endpoint is None else _named(asked.endpoint, "--endpoint", variables)


def _by_variables(variables: Mapping[str, str]) -> Access | None:
    endpoint = variables.get("DRYSTONE_ENDPOINT")
    if endpoint:
        return _named(endpoint, "DRYSTONE_ENDPOINT", variables)
    login = _login_of(variables)
    return None if login is None else Access(USUAL_ENDPOINT, "DRYSTONE_USER", login)


def _named(endpoint: str, source: str, variables: Mapping[str, str]) -> Access:
    """An address alone: with the login in it, or of DRYSTONE_USER, or the one that is stored for this address."""
    check_endpoint(endpoint)
    login = login_in(endpoint) or _login_for(endpoint, variables)
    if login is not None:
        return Access(endpoint, source, login)
    stored = read_logins(credentials_path(variables)).of(endpoint)
    if stored is None:
        return Access(endpoint, source)
    return replace(stored, endpoint=endpoint, source=f"{source}, with {stored.source}")


def _by_cloud(asked: Asked, variables: Mapping[str, str]) -> Access | None:
    name = variables.get("OS_CLOUD")
    return _cloud(name, asked, variables) if name else None


def _cloud(name: str, asked: Asked, variables: Mapping[str, str]) -> Access:
    from httpapi.client.auth_clouds import cloud_access

    file = variables.get("OS_CLIENT_CONFIG_FILE")
    directories = (Path(), _configuration(variables) / "openstack", _home(variables) / ".config/openstack")
    places = list(dict.fromkeys((*directories, _SYSTEM_CLOUDS)))
    cacert = asked.cacert or _path("DRYSTONE_CACERT", variables)
    insecure = _allows_insecure(asked, variables)
    return cloud_access(name, places, file=Path(file) if file else None, cacert=cacert, insecure=insecure)


def _by_openstack(asked: Asked, variables: Mapping[str, str]) -> Access | None:
    name = next((each for each in ENDPOINT_VARIABLES[1:] if variables.get(each)), None)
    # As openstacksdk: with a Keystone it is a password. OS_ENDPOINT belongs to the ways in that have none.
    usual = "password" if variables.get("OS_AUTH_URL") and name != "OS_ENDPOINT" else "none"
    auth_type = variables.get("OS_AUTH_TYPE") or usual
    if auth_type not in {"none", "http_basic"}:
        return _by_keystone(auth_type, None if name is None else variables[name], asked, variables)
    if name is None:
        return None
    if auth_type == "none":
        return Access(variables[name], name)
    user, password = variables.get("OS_USERNAME"), variables.get("OS_PASSWORD")
    if not user or not password:
        raise AccessRefused("OS_AUTH_TYPE is http_basic: set OS_USERNAME and OS_PASSWORD too")
    project = variables.get("OS_PROJECT_ID") or None
    return Access(variables[name], f"{name} with OS_AUTH_TYPE=http_basic", Login(user, password), project)


def _by_keystone(auth_type: str, endpoint: str | None, asked: Asked, variables: Mapping[str, str]) -> Access:
    from httpapi.client.auth_keystone import AUTH_TYPES, WORDS, Cloud, log_in

    if auth_type not in AUTH_TYPES:
        raise AccessRefused(
            f"OS_AUTH_TYPE is {auth_type!r}, which this client cannot do: {', '.join(sorted(AUTH_TYPES))}, none and "
            "http_basic work; or set DRYSTONE_ENDPOINT, which goes first"
        )
    found = {word: variables.get(f"OS_{word.upper()}") for word in WORDS}
    return log_in(
        Cloud(
            words={word: text for word, text in found.items() if text},
            auth_type=auth_type,
            source="OS_AUTH_URL and its like",
            endpoint=endpoint,
            region=variables.get("OS_REGION_NAME"),
            interface=variables.get("OS_INTERFACE"),
            cacert=asked.cacert or _path("DRYSTONE_CACERT", variables) or _path("OS_CACERT", variables),
            insecure=_allows_insecure(asked, variables),
        )
    )


def _allows_insecure(asked: Asked, variables: Mapping[str, str]) -> bool:
    return asked.insecure or _is_on(variables.get(INSECURE_VARIABLE, ""))


def _by_store(variables: Mapping[str, str]) -> Access | None:
    stored = read_logins(credentials_path(variables))
    return None if stored.current is None else stored.logins.get(stored.current)


def _with_the_rest(found: Access, asked: Asked, variables: Mapping[str, str]) -> Access:
    """What may be added to an access wherever it was found."""
    by_token = isinstance(found.login, TokenLogin)
    project = (None if by_token else variables.get("DRYSTONE_PROJECT")) or found.project
    if found.login is None:
        # Then it is sent nowhere, and says only whose images of one name are meant.
        project = project or variables.get("OS_PROJECT_ID") or None
    cacert = asked.cacert or _path("DRYSTONE_CACERT", variables) or found.cacert or _path("OS_CACERT", variables)
    insecure = found.insecure or _allows_insecure(asked, variables)
    return replace(found, project=project, cacert=cacert, insecure=insecure)


def _login_for(endpoint: str, variables: Mapping[str, str]) -> Login | None:
    """The login in the variables, unless DRYSTONE_ENDPOINT beside it says that it is another service's."""
    login, beside = _login_of(variables), variables.get("DRYSTONE_ENDPOINT")
    if login is not None and beside and place_of(beside) != place_of(endpoint):
        return None
    return login


def _login_of(variables: Mapping[str, str]) -> Login | None:
    user, password = (variables.get(name) for name in LOGIN_VARIABLES)
    if not user and not password:
        return None
    if not user or not password:
        raise AccessRefused("DRYSTONE_USER and DRYSTONE_PASSWORD belong together: set both, or use `drystone login`")
    return Login(user, password)


def _is_on(text: str) -> bool:
    return text.strip().lower() in {"1", "true", "yes", "on"}


def _path(name: str, variables: Mapping[str, str]) -> Path | None:
    text = variables.get(name)
    return Path(text) if text else None


def _configuration(variables: Mapping[str, str]) -> Path:
    return _path("XDG_CONFIG_HOME", variables) or _home(variables) / ".config"


def _home(variables: Mapping[str, str]) -> Path:
    return _path("HOME", variables) or Path.home()


def _first(names: tuple[str, ...], variables: Mapping[str, str]) -> str | None:
    return next((value for name in names if (value := variables.get(name))), None)
