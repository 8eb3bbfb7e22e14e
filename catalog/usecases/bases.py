"""Which manifest a new one may be written over: the base of an increment.

Asked in the transaction that makes an image `saving`, which also pins what it gives: whatever becomes of the parent
afterwards, the base stays. Rights are looked at then, not only when the image was created: how much of an upload is
inherited tells its owner which blocks are equal, so it may only be compared with bytes that the caller can read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog import policy
from catalog.model.errors import CatalogUnavailable, NoBlocks
from catalog.model.image import Status
from catalog.model.location import ACTIVE, OUR_STORE
from catalog.usecases.access import find_visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.ports import StoredManifest, UnitOfWork


def base_of(uow: UnitOfWork, caller: Caller, image: Image, store: str) -> Sequence[StoredManifest]:
    """The chain that this image's bytes are to be written over, newest first; empty: its manifest will be whole."""
    parent = None if image.parent is None else find_visible(uow, caller, image.parent)
    if parent is None or not policy.may_inherit(caller, image, parent):
        return ()
    return _active_chain(uow, parent, store)


def tells_change(uow: UnitOfWork, caller: Caller, image: Image, named: str | None) -> bool:
    """Whether those who may know of the image's parent may know how much of it was not in the base `named`.

    The two are one, and this caller's plain upload would inherit from it, too: who names a base gives away its bytes,
    and no more. None: there is no base.
    """
    if named is None:
        return True
    base = uow.images.get(named) if image.parent == named else None
    return base is not None and policy.may_inherit(caller, image, base)


def readable_chain(uow: UnitOfWork, caller: Caller, image_id: str, store: str) -> Sequence[StoredManifest]:
    """The chain of an active image that the caller may download, newest first.

    Empty, whatever the reason: unknown, invisible, not active, or without bytes in this store.
    """
    image = find_visible(uow, caller, image_id)
    if image is None or not policy.may_download(caller, image):
        return ()
    return _active_chain(uow, image, store)


def our_manifests(uow: UnitOfWork, image: Image, store: str) -> Sequence[StoredManifest]:
    """The chain of an image's bytes in our own store. Raises NoBlocks, CatalogUnavailable when they are in another."""
    chain = our_chain(uow, image, store)
    if not chain and any(location.manifest is not None for location in image.locations):
        raise in_another_store(image, store)
    if not chain:
        raise NoBlocks(
            f"Image {image.id} does not lie in the store '{OUR_STORE}', where its blocks would be; copy it there first:"
            f" import it with the method copy-image and the store '{OUR_STORE}'."
        )
    return chain


def our_chain(uow: UnitOfWork, image: Image, store: str) -> Sequence[StoredManifest]:
    """The same, empty when there is none."""
    manifest = our_manifest(image, store)
    return () if manifest is None else uow.manifests.chain(manifest)


def in_another_store(image: Image, store: str) -> CatalogUnavailable:
    """The image's blocks are not in the block store with this id."""
    return CatalogUnavailable(
        f"Image {image.id} has no data in block store {store}; was the catalog restored beside another store?"
    )


def _active_chain(uow: UnitOfWork, image: Image, store: str) -> Sequence[StoredManifest]:
    return our_chain(uow, image, store) if image.status is Status.ACTIVE else ()


def our_manifest(image: Image, store: str) -> str | None:
    """The manifest that the image has in the block store with this id."""
    prefix = f"blocks://{store}/"
    for location in image.locations:
        if location.manifest is not None and location.status == ACTIVE and location.url.startswith(prefix):
            return location.manifest
    return None
