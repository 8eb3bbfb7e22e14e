"""What every use case is given: the world's parts, joined once at the start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blockstore import clock
from catalog.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from catalog.ports import Blocks, Database


@dataclass(frozen=True, slots=True)
class Services:
    """Database, blocks, limits and settings.

    `hashing` names the hashlib algorithm of `os_hash_value`; `block_size` in bytes. `running` holds the ids of the
    uploads that this process is writing now, from before they are recorded until after they are settled: what the
    catalog records as ours and is not in it was left behind. Only the event loop's thread touches it.
    """

    database: Database
    blocks: Blocks
    limits: Limits = field(default_factory=Limits)
    hashing: str = "sha512"
    block_size: int = 65536
    clock: Callable[[], datetime] = clock.now
    running: set[str] = field(default_factory=set)
