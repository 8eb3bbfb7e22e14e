"""The only place that joins the parts: settings → identity, block store, catalog → services → application → serving."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from blockstore import reserve
from blockstore.store import BlockStore, StoreOptions
from catalog.formats.rules import Formats
from catalog.jobs.rooms import Rooms
from catalog.limits import Limits
from catalog.model.caller import Caller
from catalog.sql.open import open_catalog
from catalog.sql.upgrade import bring_up_to_date
from catalog.stores.blocks import StoredBlocks
from catalog.usecases.services import Services
from httpapi import logs
from httpapi.app import build_app
from httpapi.checks import check
from httpapi.collecting import collecting
from httpapi.conversion import converter_of
from httpapi.handlers.probes import ProbeHandlers
from httpapi.health import Health, Watched
from httpapi.identity.basic import BasicIdentity
from httpapi.identity.contract import Distant
from httpapi.identity.htpasswd import UserFileRefused
from httpapi.identity.none import NoIdentity
from httpapi.identity.users import UserFiles
from httpapi.import_methods import import_methods
from httpapi.import_rules import import_rules, work_directory
from httpapi.job_places import in_server, in_worker
from httpapi.job_worker import work, working
from httpapi.keystone_settings import keystone_of
from httpapi.lifecycle import serve
from httpapi.listening import Listening
from httpapi.metrics.place import ALONE
from httpapi.metrics.sampling import sampling
from httpapi.metrics.scrape import Scrape
from httpapi.metrics.uploads import copy_told, uploaded
from httpapi.middlewares import IN_FLIGHT
from httpapi.outgoing import leaving, other_services_of, outgoing_of
from httpapi.policy_file import policy_of
from httpapi.protection_file import protection_of
from httpapi.proxies import WayIn
from httpapi.quota_file import load_quotas
from httpapi.scrubbing import Watched as ToScrub
from httpapi.scrubbing import scrubbing
from httpapi.settings import SettingsRefused
from httpapi.spare_memory import giving_back
from httpapi.store_watch import watching
from httpapi.stores_file import load_stores
from httpapi.tls import Tls
from httpapi.url_keys import url_keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpapi.identity.contract import Identity
    from httpapi.settings import Settings
    from httpapi.workers.link import Link

_log = logging.getLogger("drystone.server")

# Beside one busy pure-Python thread, each time a thread of the crew takes the GIL again, twice a block, costs up to
# this; Python's own 5 ms make a held slab hundreds of times slower.
_SWITCH_SECONDS = 0.0001


def run(settings: Settings, link: Link | None = None) -> None:
    """Serve until stopped; with a `link` as one worker of several, which the other end watches.

    Raises SettingsRefused, BlockstoreError or CatalogError with a sentence for the user, and Dismissed by the link.
    """
    place = ALONE if link is None else link.place
    _prepare(settings, name=str(place))
    checked = check(settings, identity_of)
    checked.refuse()
    for warning in checked.warnings if place.number == 1 else ():
        _log.warning("%s", warning)
    assert checked.identity is not None
    if link is not None:
        settings = replace(settings, listen=link.checked())
    with _open_parts(settings) as (store, services):
        asyncio.run(_serve(settings, store, services, checked.identity, link))


def run_worker(settings: Settings) -> None:
    """Work on jobs until stopped, as the settings say, or on one at a time where they leave them to others.

    Raises as `run` does.
    """
    _prepare(settings)
    at_once = in_worker(settings)

    def announce() -> None:
        told = f"{at_once.quick} at once, and {at_once.slow} slow ones"
        sys.stdout.write(f"Drystone works on the jobs of {settings.data}, {told}\n")
        sys.stdout.flush()

    with open_services(settings) as services:
        asyncio.run(work(services, at_once=at_once, grace=settings.shutdown_grace, announce=announce))


def _prepare(settings: Settings, *, name: str = "") -> None:
    """What holds for a whole process: its log, how its threads share the interpreter, who may read its files."""
    os.umask(0o077)
    logs.set_up(level=settings.log_level, form=settings.log_format, name=name)
    sys.setswitchinterval(_SWITCH_SECONDS)


def identity_of(settings: Settings) -> Identity:
    """Who says who is calling. Raises SettingsRefused when what that needs is missing or cannot be used."""
    if settings.identity == "basic":
        return _basic(settings)
    if settings.identity == "keystone":
        return keystone_of(settings)
    return NoIdentity(Caller(settings.identity_user, settings.identity_project, settings.identity_roles))


def _basic(settings: Settings) -> Identity:
    if settings.identity_file is None:
        raise SettingsRefused(
            "identity basic needs identity_file, a file of users: `drystone user add NAME --file FILE` makes one."
        )
    try:
        return BasicIdentity(UserFiles(settings.identity_file, settings.identity_accounts))
    except UserFileRefused as refusal:
        raise SettingsRefused(str(refusal)) from refusal


def tls_of(settings: Settings) -> Tls | None:
    """The certificate and its key, if there are any. Raises SettingsRefused when they cannot be used."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Tls(settings.tls_certificate, settings.tls_key)


@contextmanager
def open_services(settings: Settings) -> Iterator[Services]:
    """The data directory, open, for use cases."""
    with _open_parts(settings) as (_, services):
        yield services


@contextmanager
def _open_parts(settings: Settings) -> Iterator[tuple[BlockStore, Services]]:
    """The data directory, open: the block store first, since it decides whether the directory may be used at all."""
    options = StoreOptions(
        slab_budget=settings.slab_budget,
        generation_bytes=settings.generation_bytes,
        generation_seconds=settings.generation_seconds,
    )
    protection = protection_of(settings)
    policy = policy_of(settings, protection)
    quotas = load_quotas(settings.quota_file)
    outgoing = outgoing_of(settings)
    stores = load_stores(settings.stores_file, outgoing)
    methods = import_methods(settings, stores)
    url_keys = url_keys_of(settings)
    rules = import_rules(settings)
    bring_up_to_date(settings.data, settings.catalog)
    store = BlockStore.open(settings.data, options)
    reserve.keep(settings.data)
    try:
        database = open_catalog(settings.catalog)
        rooms = Rooms(work_directory(settings), store=store.id, process=store.process, is_alive=store.is_alive)
        try:
            services = Services(
                database=database,
                blocks=StoredBlocks(store),
                import_rules=rules,
                rooms=rooms,
                converter=converter_of(settings),
                limits=Limits(
                    image_size_cap=settings.image_size_cap,
                    uploads=settings.project_uploads,
                    journal_bytes=settings.project_journals,
                ),
                protection=protection,
                block_size=settings.block_size,
                formats=Formats(settings.formats),
                hashes_later=settings.hashes == "background",
                location_hashes=settings.location_hashes,
                delta_expiry=settings.delta_expiry,
                staging_expiry=settings.staging_expiry,
                import_methods=methods,
                keep_deleted=settings.gc_keep_deleted,
                make_room=partial(reserve.give_up, settings.data),
                on_upload=uploaded,
                on_place=copy_told,
                show_locations=settings.show_locations,
                show_direct_url=settings.show_direct_url,
                rules=None if policy is None else policy.rules,
                quotas=quotas,
                stores=stores,
                outgoing=outgoing,
                other_services=other_services_of(settings),
                url_keys=url_keys,
                ticket_longest=settings.signed_url_longest,
            )
            yield store, services
        finally:
            rooms.close()
            database.close()
    finally:
        store.close()


async def _serve(
    settings: Settings, store: BlockStore, services: Services, identity: Identity, link: Link | None
) -> None:
    def announce(url: str) -> None:
        if link is not None:
            link.ready(url, identity.describe)
            return
        sys.stdout.write(f"Drystone serves {settings.data} on {url} ({identity.describe})\n")
        sys.stdout.flush()

    way_in = WayIn(settings.public_url, settings.trusted_proxies)
    place = ALONE if link is None else link.place
    watched = Watched(settings.data, store.index_wait, store.index_holders)
    health = Health(services, watched, identity if isinstance(identity, Distant) else None)
    probes = ProbeHandlers(health, Scrape(services, place, settings.data), settings.metrics)
    app = build_app(services, identity, body_timeout=settings.body_timeout, way_in=way_in, probes=probes)
    listening = Listening(
        settings.listen,
        tls_of(settings),
        settings.header_timeout,
        settings.body_timeout,
        reuse_port=link is not None,
    )
    spare = giving_back(app[IN_FLIGHT].is_idle, store.let_go)
    store_id = bytes.fromhex(store.id)
    scrubbed = scrubbing(ToScrub(settings, store_id, store.damage_met, place.number == 1))
    figures = sampling(place, store.figures, settings.data, store_id, services.stores)
    stores, way_out = watching(services.stores), leaving(services.outgoing)
    async with way_out, stores, working(services, in_server(settings)), figures, scrubbed, spare, collecting(settings):
        await serve(
            app,
            services,
            listening=listening,
            grace=settings.shutdown_grace,
            announce=announce,
            stop_asked=None if link is None else link.stop_asked,
        )
