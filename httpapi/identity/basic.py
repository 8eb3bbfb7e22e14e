"""Identity `basic`: a user and a password with each request (RFC 7617), against a file of users."""

from __future__ import annotations

import base64
import binascii
import logging
from typing import TYPE_CHECKING, Final

from httpapi.identity.cross_site import check_cross_site
from httpapi.identity.logins import Logins
from httpapi.wire.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.model.caller import Caller
    from httpapi.identity.contract import Arrival
    from httpapi.identity.users import UserFiles

CHALLENGE: Final = 'Basic realm="drystone", charset="UTF-8"'
PROJECT_HEADER: Final = "X-Project-Id"
_log = logging.getLogger("drystone.identity")


class BasicIdentity:
    """Callers are the users of `files`; for one event loop."""

    def __init__(self, files: UserFiles) -> None:
        self._files = files
        self._logins = Logins()

    @property
    def describe(self) -> str:
        """Whose file, and how many are in it."""
        count = len(self._files.current().hashes)
        return f"identity basic: {count} user{'' if count == 1 else 's'} in {self._files.passwords}"

    @property
    def reaches_beyond_loopback(self) -> bool:
        """Callers are told apart."""
        return True

    @property
    def takes_passwords(self) -> bool:
        """With each request."""
        return True

    def admit(self, arrival: Arrival) -> None:
        """Raise HostRefused for a change that a page of another site asks for."""
        check_cross_site(arrival)

    async def identify(self, arrival: Arrival) -> Caller:
        """The user whose password this is, in the project that X-Project-Id names or else the usual one.

        A user who does not exist takes as long as a wrong password, and the answer is the same.
        """
        user, password = credentials_in(arrival.headers)
        users = self._files.current()
        entry = users.hashes.get(user)
        right = await self._logins.check(user, password, entry or users.nobody, arrival.peer)
        if not right or entry is None:
            known = repr(user) if entry is not None else "a user who does not exist"
            _log.warning("A login of %s from %s has failed.", known, arrival.peer)
            raise _refusal("Wrong user or password.")
        return users.caller(user, arrival.headers.get(PROJECT_HEADER))


def credentials_in(headers: Mapping[str, str]) -> tuple[str, bytes]:
    """User and password; raises Unauthenticated when there are none that can be read. No message repeats them."""
    said = headers.get("Authorization")
    if said is None:
        if "X-Auth-Token" in headers:
            raise _refusal("This service knows no tokens: send a user and a password (auth type http_basic).")
        raise _refusal("This service wants a user and a password.")
    scheme, _, encoded = said.strip().partition(" ")
    if scheme.lower() != "basic":
        raise _refusal("This service takes no Authorization but Basic, a user and a password.")
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        name = user.decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        colon = b""
    if not colon:
        raise _refusal("The Authorization is not the base64 of USER:PASSWORD in UTF-8.")
    return name, password


def _refusal(message: str) -> Unauthenticated:
    return Unauthenticated(message, challenge=CHALLENGE)
