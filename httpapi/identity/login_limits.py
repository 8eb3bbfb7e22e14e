"""How many logins may fail, so that nobody guesses a password and nobody is locked out by somebody else's guesses.

Three counts over the last minute. One user from one address: 5. One address, whatever the users: 20, so that one
password isn't tried on every user, and an office behind one address isn't shut out by one colleague. One user, whatever
the addresses: 50, which holds only for addresses from which this user has not logged in before. Over a limit nothing is
checked: a guess costs no bcrypt and learns nothing. Logins that are remembered as right (`logins.py`) never count. A
try counts from its beginning, so that many at once are no way around; one that succeeds is taken back.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeAlias

from blockstore.clock import monotonic
from httpapi.wire.errors import TooManyLogins

if TYPE_CHECKING:
    from collections.abc import Callable

Key: TypeAlias = tuple[str, ...]

WINDOW_SECONDS: Final = 60.0
PER_USER_AND_ADDRESS: Final = 5
PER_ADDRESS: Final = 20
PER_USER: Final = 50
# Of each kind; whoever makes up more names or addresses than this has waited for very many checks.
MOST_KEYS: Final = 16_384


class LoginLimits:
    """The counts of one process; for its event loop."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._tries: OrderedDict[Key, list[float]] = OrderedDict()
        self._known: OrderedDict[Key, None] = OrderedDict()

    def begin(self, user: str, peer: str) -> LoginTry:
        """A login that will now be checked; raises TooManyLogins with the seconds to wait when it must not be."""
        name, network = _digest(user), network_of(peer)
        place = ("place", name, network)
        limits = {place: PER_USER_AND_ADDRESS, ("address", network): PER_ADDRESS, ("user", name): PER_USER}
        # Each is asked for, also the one that does not hold here: that is what drops its old tries.
        waits = {key: self._wait(key, most) for key, most in limits.items()}
        if place in self._known:
            del waits["user", name]
        wait = max(waits.values())
        if wait > 0:
            seconds = math.ceil(wait)
            raise TooManyLogins(
                f"Too many logins of this user or from this address have failed: try again in {seconds} s.",
                retry_after=seconds,
            )
        now = self._clock()
        keys = tuple(limits)
        for key in keys:
            self._tries.setdefault(key, []).append(now)
            self._tries.move_to_end(key)
        _cut(self._tries, 3 * MOST_KEYS)
        return LoginTry(self, keys, now)

    def take_back(self, keys: tuple[Key, ...], began: float) -> None:
        """A try that has not failed."""
        for key in keys:
            times = self._tries.get(key, [])
            if began in times:
                times.remove(began)
            if not times:
                self._tries.pop(key, None)

    def forgive(self, place: Key) -> None:
        """The user has logged in from there: what failed before was a slip, and the place is known from now on."""
        self._tries.pop(place, None)
        self._known[place] = None
        self._known.move_to_end(place)
        _cut(self._known, MOST_KEYS)

    def _wait(self, key: Key, most: int) -> float:
        """Seconds until this key is below `most` again; drops what is older than the window."""
        times = self._tries.get(key)
        if times is None:
            return 0.0
        since = self._clock() - WINDOW_SECONDS
        times[:] = [each for each in times if each > since]
        return times[-most] - since if len(times) >= most else 0.0


class LoginTry:
    """One login at work; without a word of success it counts as failed."""

    def __init__(self, limits: LoginLimits, keys: tuple[Key, ...], began: float) -> None:
        self._limits = limits
        self._keys = keys
        self._began = began

    def not_made(self) -> None:
        """It was never checked."""
        self._limits.take_back(self._keys, self._began)

    def succeeded(self) -> None:
        """The password was right."""
        self._limits.take_back(self._keys, self._began)
        self._limits.forgive(self._keys[0])


def network_of(peer: str) -> str:
    """Whom an address stands for: itself in IPv4, in IPv6 its /64, of which one sender has every address."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer[:64]
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _digest(user: str) -> str:
    return blake2b(user.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _cut(kept: OrderedDict[Key, list[float]] | OrderedDict[Key, None], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
