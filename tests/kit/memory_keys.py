"""`catalog.tickets.UrlKeys` in memory."""

from __future__ import annotations

import secrets

from catalog.tickets import UrlKey


class MemoryKeys:
    """Keys by their ids; a test may add some and take them away."""

    def __init__(self) -> None:
        self.keys: dict[bytes, UrlKey] = {}

    def add(self) -> UrlKey:
        key = UrlKey(secrets.token_bytes(6), secrets.token_bytes(32))
        self.keys[key.id] = key
        return key

    def find(self, key_id: bytes) -> UrlKey | None:
        return self.keys.get(key_id)

    async def newest(self) -> UrlKey:
        return [*self.keys.values()][-1] if self.keys else self.add()
