"""Identity `keystone`: a token of OpenStack's Keystone with each request, which Keystone is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog.model.caller import Caller
from httpapi.identity.access_rules import allowed
from httpapi.identity.keystone_api import can_be_token
from httpapi.identity.validations import Validations
from httpapi.wire.errors import AccessRulesRefuse, NoProject, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpapi.identity.contract import Arrival
    from httpapi.identity.keystone_api import KeystoneApi
    from httpapi.identity.token_answer import Token

TOKEN_HEADER: Final = "X-Auth-Token"  # noqa: S105  # names
SERVICE_HEADER: Final = "X-Service-Token"


class KeystoneIdentity:
    """Callers are who Keystone says; for one event loop. `public_url` is where clients are sent for a token.

    What a request itself tells of a user, a project or roles is never looked at.
    """

    def __init__(
        self, api: KeystoneApi, *, public_url: str, service_roles: frozenset[str], remember: float = 300.0
    ) -> None:
        self._api = api
        self._validations = Validations(api.validate, remember)
        self._service_roles = service_roles
        self._challenge = f'Keystone uri="{public_url}"'

    @property
    def describe(self) -> str:
        """Where Keystone is."""
        return f"identity keystone: {self._api.url}"

    @property
    def reaches_beyond_loopback(self) -> bool:
        """Callers are told apart."""
        return True

    @property
    def takes_passwords(self) -> bool:
        """A token that somebody reads on its way is as good as a password until it ends."""
        return True

    @property
    def trouble(self) -> str:
        """Why Keystone could not be asked the last time; empty when it could."""
        return self._api.trouble

    async def check(self) -> None:
        """Ask Keystone about the service user itself; raises IdentityUnavailable."""
        await self._api.check()

    def admit(self, arrival: Arrival) -> None:
        """Everybody: browsers add no token by themselves."""

    async def identify(self, arrival: Arrival) -> Caller:
        """The user and project of the token; raises as the contract says, and AccessRulesRefuse or NoProject (403)."""
        headers = arrival.headers
        if TOKEN_HEADER not in headers:
            raise self._refused(f"This service wants a token of Keystone in {TOKEN_HEADER}.")
        service_roles = await self._service(arrival)
        # A service goes on with what its user began, also when that takes longer than a token lives.
        token = await self._valid(headers, TOKEN_HEADER, late=bool(service_roles))
        if not service_roles:
            _check_rules(token, arrival)
        if token.project is None:
            raise NoProject("The token is of no project, and images belong to projects: get one that is scoped to one.")
        return Caller(token.user, token.project, token.roles, service_roles)

    async def close(self) -> None:
        """End what is asked, and leave Keystone."""
        await self._validations.close()
        await self._api.close()

    async def _service(self, arrival: Arrival) -> frozenset[str]:
        """The roles of the service that asks for a user; none without its token."""
        if SERVICE_HEADER not in arrival.headers:
            return frozenset()
        token = await self._valid(arrival.headers, SERVICE_HEADER)
        if token.roles.isdisjoint(self._service_roles):
            names = ", ".join(sorted(self._service_roles))
            raise self._refused(f"The token in {SERVICE_HEADER} is no service's: it lacks the role {names}.")
        # A credential of the service's own that got out is worth no more here than its rules say.
        _check_rules(token, arrival)
        return token.roles

    async def _valid(self, headers: Mapping[str, str], name: str, *, late: bool = False) -> Token:
        text = headers[name]
        token = await self._validations.of(text, late=late) if can_be_token(text) else None
        if token is None:
            raise self._refused(f"The token in {name} is none, has expired, or was revoked: get a new one.")
        return token

    def _refused(self, message: str) -> Unauthenticated:
        return Unauthenticated(message, challenge=self._challenge)


def _check_rules(token: Token, arrival: Arrival) -> None:
    rules = token.access_rules
    if rules is not None and not allowed(rules, arrival.method, arrival.target):
        raise AccessRulesRefuse(
            "The access rules of the application credential that this token comes from do not allow this request."
        )
