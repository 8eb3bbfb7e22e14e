"""The only place that joins the parts: settings → identity, block store, catalog → services → application → serving."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from blockstore.store import BlockStore, StoreOptions
from catalog.limits import Limits
from catalog.model.caller import Caller
from catalog.sql.open import open_catalog
from catalog.stores.blocks import StoredBlocks
from catalog.usecases.services import Services
from httpapi.app import build_app
from httpapi.identity.none import NoIdentity
from httpapi.lifecycle import check_listen, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpapi.identity.contract import Identity
    from httpapi.setting_values import Listen
    from httpapi.settings import Settings

CATALOG_FILE = "catalog.sqlite"

# Beside one busy pure-Python thread, each time a thread takes the GIL again costs up to this; Python's own 5 ms make
# a held slab hundreds of times slower.
_SWITCH_SECONDS = 0.0005


def run(settings: Settings) -> None:
    """Serve until stopped. Raises SettingsRefused, BlockstoreError or CatalogError with a sentence for the user."""
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s %(message)s", stream=sys.stderr
    )
    # Which migration steps run is said by the catalog when they fail.
    logging.getLogger("alembic").setLevel(logging.DEBUG if settings.log_level == "debug" else logging.WARNING)
    sys.setswitchinterval(_SWITCH_SECONDS)
    identity = identity_of(settings)
    check_listen(settings.listen, identity)
    with open_services(settings) as services:
        asyncio.run(_serve(settings, services, identity))


def identity_of(settings: Settings) -> Identity:
    """Who says who is calling; `none` is the only one there is."""
    return NoIdentity(Caller(settings.identity_user, settings.identity_project, settings.identity_roles))


@contextmanager
def open_services(settings: Settings) -> Iterator[Services]:
    """The data directory, open: the block store first, since it decides whether the directory may be used at all."""
    options = StoreOptions(
        slab_budget=settings.slab_budget,
        generation_bytes=settings.generation_bytes,
        generation_seconds=settings.generation_seconds,
    )
    store = BlockStore.open(settings.data, options)
    try:
        database = open_catalog(settings.data / CATALOG_FILE)
        try:
            yield Services(
                database=database,
                blocks=StoredBlocks(store),
                limits=Limits(image_size_cap=settings.image_size_cap),
                block_size=settings.block_size,
            )
        finally:
            database.close()
    finally:
        store.close()


async def _serve(settings: Settings, services: Services, identity: Identity) -> None:
    def announce(listen: Listen) -> None:
        sys.stdout.write(f"Drystone serves {settings.data} on http://{listen} ({identity.describe})\n")
        sys.stdout.flush()

    app = build_app(services, identity, body_timeout=settings.body_timeout)
    await serve(app, services, listen=settings.listen, grace=settings.shutdown_grace, announce=announce)
