"""What every use case is given: the world's parts, joined once at the start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blockstore import clock
from catalog.formats.rules import Formats
from catalog.jobs.bell import Bell
from catalog.limits import Limits
from catalog.model.importing import ImportRules, Method
from catalog.property_protection import Protection
from catalog.quota_ports import Said
from catalog.stores.outgoing.outgoing import Outgoing
from catalog.stores.set import blocks_alone

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from catalog.conversion_ports import Converter
    from catalog.jobs.rooms import Rooms
    from catalog.ports import Blocks, Database, Written
    from catalog.rules import Rules
    from catalog.store_ports import Stores
    from catalog.stores.other_services import OtherServices
    from catalog.tickets import UrlKeys


def _no_room() -> bool:
    """Where none is kept."""
    return False


def _tell_nobody(_written: Written) -> None:
    """Where nobody counts."""


def _say_nothing(_store: str, _what: str) -> None:
    """Where nobody counts."""


@dataclass(frozen=True, slots=True)
class Services:
    """Database, blocks, limits, the protection of properties, and settings.

    `hashing` names the hashlib algorithm of `os_hash_value`; `block_size` in bytes is that of fixed blocks where
    nobody says another. `running` holds the ids of the uploads that this process is writing now, from before they are
    recorded until after they are settled: what the catalog records as ours and is not in it was left behind. `claims`
    is the same for jobs that this process works on; `bell` wakes its workers. Only the event loop's thread touches
    these three. `hashes_later`: uploads compute no hashes, a job does; `location_hashes`: a job does of what others
    register, too. `delta_expiry`: seconds after which a delta upload ends that nobody asks for; `staging_expiry`: after
    which staged bytes go that nobody imports. `keep_deleted`: seconds for which a deleted image can be brought back, at
    least; 0: none is kept. `import_methods` are the ways of import that are served. `formats`: what is done about
    images whose bytes are not of their format, or not safe. `on_upload` is told what each upload that became an image's
    data was made of.
    `rules` is the policy that callers get, None for the default one; `quotas` is what the file says of quotas.
    `make_room` lets go of what is kept for a full disk; False if there is none. `stores` are the places where images'
    bytes lie, our blocks among them; `outgoing` is the one way by which URLs that users name are asked,
    `other_services` leads to the image services of the same cloud, None where no Keystone knows them.
    `show_locations`, `show_direct_url`: whether callers whom the rules let see it are told where images lie. `on_place`
    is told a store's name and what happened to a copy in it: `failed`, `lost`, `found`, `put back`. `url_keys` sign
    tickets, None where none are made or taken; `ticket_longest`: seconds that one may be good for, at most.
    `import_rules`: what is done with all that is imported. `converter` converts images, in `rooms`; without either
    nothing can be converted here.
    """

    database: Database
    blocks: Blocks
    limits: Limits = field(default_factory=Limits)
    protection: Protection = field(default_factory=Protection)
    hashing: str = "sha512"
    block_size: int = 65536
    clock: Callable[[], datetime] = clock.now
    running: set[str] = field(default_factory=set)
    claims: set[str] = field(default_factory=set)
    bell: Bell = field(default_factory=Bell)
    hashes_later: bool = False
    location_hashes: bool = True
    delta_expiry: float = 86400.0
    staging_expiry: float = 86400.0
    keep_deleted: float = 0.0
    import_methods: tuple[Method, ...] = (Method.GLANCE_DIRECT, Method.WEB_DOWNLOAD)
    formats: Formats = Formats.OFF
    make_room: Callable[[], bool] = _no_room
    on_upload: Callable[[Written], None] = _tell_nobody
    rules: Rules | None = None
    quotas: Said = field(default_factory=Said)
    stores: Stores = field(default_factory=blocks_alone)
    outgoing: Outgoing = field(default_factory=Outgoing)
    other_services: OtherServices | None = None
    show_locations: bool = False
    show_direct_url: bool = False
    on_place: Callable[[str, str], None] = _say_nothing
    url_keys: UrlKeys | None = None
    ticket_longest: float = 7 * 86400.0
    import_rules: ImportRules = field(default_factory=ImportRules)
    converter: Converter | None = None
    rooms: Rooms | None = None
