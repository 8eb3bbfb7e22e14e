"""Whether a password is right: remembered for minutes, checked on a thread of its own, never twice at once.

bcrypt is slow by intent, a quarter of a second of one core; a client sends its password with each request. So a right
one is remembered, until minutes after its last use, under a keyed hash of user, password and the file's entry, with a
key that this process makes up and never tells: no password is kept, and a changed or removed entry is forgotten with
its change. A wrong one is not remembered; it is counted (`login_limits.py`).
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from blockstore.clock import monotonic
from httpapi.identity.login_limits import LoginLimits
from httpapi.identity.passwords import is_right
from httpapi.wire.errors import IdentityBusy

if TYPE_CHECKING:
    from collections.abc import Callable

REMEMBER_SECONDS: Final = 300.0
MOST_REMEMBERED: Final = 1024
# About four seconds' work for one thread.
MOST_WAITING: Final = 16


class Logins:
    """The logins of one process; for its event loop."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._limits = LoginLimits(clock)
        self._right = RememberedLogins(clock)
        self._checks = PasswordThreads()
        self._running: dict[bytes, asyncio.Task[bool]] = {}

    async def check(self, user: str, password: bytes, entry: str, peer: str) -> bool:
        """Whether `password` belongs to the hash `entry`; raises TooManyLogins or IdentityBusy instead of checking."""
        key = self._right.key(user, password, entry)
        if self._right.holds(key):
            return True
        running = self._running.get(key)
        if running is None:
            running = self._begin(key, user, password, entry, peer)
        # Whoever gives up must not take the answer from the others who wait for it.
        return await asyncio.shield(running)

    def _begin(self, key: bytes, user: str, password: bytes, entry: str, peer: str) -> asyncio.Task[bool]:
        attempt = self._limits.begin(user, peer)
        try:
            checked = self._checks.submit(password, entry)
        except IdentityBusy:
            attempt.not_made()
            raise

        async def settle() -> bool:
            try:
                right = await checked
            finally:
                del self._running[key]
            if right:
                attempt.succeeded()
                self._right.add(key)
            return right

        task = self._running[key] = asyncio.create_task(settle())
        return task


class RememberedLogins:
    """Which logins were right in the last minutes, by a hash that says nothing outside of this process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def key(self, user: str, password: bytes, entry: str) -> bytes:
        """What a login is remembered by."""
        digest = blake2b(key=self._secret, digest_size=32)
        for part in (user.encode(), entry.encode(), password):
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.digest()

    def holds(self, key: bytes) -> bool:
        """Whether this login was found right, and is in use since then: so it is remembered for longer."""
        until = self._until.get(key)
        if until is None:
            return False
        if until <= self._clock():
            del self._until[key]
            return False
        # Were it checked anew while in use, guesses from its own address could lock it out then.
        self.add(key)
        return True

    def add(self, key: bytes) -> None:
        """A login that was right; those that were not used for longest go when there are too many."""
        self._until[key] = self._clock() + REMEMBER_SECONDS
        self._until.move_to_end(key)
        while len(self._until) > MOST_REMEMBERED:
            self._until.popitem(last=False)


class PasswordThreads:
    """One or two threads that check passwords, with a short queue: a flood gets answers and not the machine."""

    def __init__(self) -> None:
        threads = max(1, min(2, (os.cpu_count() or 1) // 2))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._waiting = 0

    def submit(self, password: bytes, entry: str) -> asyncio.Future[bool]:
        """The check, queued; raises IdentityBusy when too many wait."""
        if self._waiting >= MOST_WAITING:
            raise IdentityBusy("Too many logins are being checked: try again in a few seconds.")
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, is_right, password, entry)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: asyncio.Future[bool]) -> None:
        self._waiting -= 1
