"""How bytes become an image's, in three steps that are the same for every way of uploading: begin, commit, abandon.

Each is one transaction. Begin records who writes, and a pin that keeps the blocks. Commit is the one visible moment:
it deletes the pin and makes the image active, or does neither. Abandon undoes begin. Commit and abandon name the
upload's id and change nothing that belongs to another upload, so both may come late, twice, or in the wrong order.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from blockstore.errors import BlockstoreError
from catalog import policy
from catalog.blocking import to_its_end
from catalog.jobs.enqueueing import enqueue
from catalog.model.errors import CatalogError, Gone
from catalog.model.image import CHECKSUM, Contents, Status, Upload, canonical_id
from catalog.model.location import our_location
from catalog.model.manifest import Manifest, ManifestState, StoredManifest
from catalog.model.pin import Pin, UploadKind
from catalog.model.task import HASH, NOBODY, image_task
from catalog.usecases.access import load_modifiable
from catalog.usecases.coalescing import let_go, look_below
from catalog.usecases.copying import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.location import Location
    from catalog.model.task import Requester
    from catalog.ports import UnitOfWork, Written
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit makes visible: an upload's manifest, as part of an image.

    `hashing` is the algorithm of `os_hash_value`. Hashes that are missing are left to a job on behalf of `by`.
    `virtual_size` is that of the disk in it, if it is known. `tells_change`: whether its `changed_size` is to be told.
    `copies` of the same bytes are settled with it; not `in_blocks`: the image lies in these alone, and the manifest's
    file goes, by whoever asked for the commit.
    """

    image_id: str
    upload_id: str
    written: Written
    store: str
    hashing: str
    by: Requester = NOBODY
    virtual_size: int | None = None
    tells_change: bool = True
    copies: Sequence[Location] = ()
    in_blocks: bool = True


def _admitted(_uow: UnitOfWork, _image: Image) -> int:
    """Where nobody counts."""
    return 0


def begin(
    uow: UnitOfWork,
    caller: Caller,
    image_id: str,
    upload: Upload,
    *,
    at: datetime,
    bases: Sequence[str] = (),
    expires_at: datetime | None = None,
    admit: Callable[[UnitOfWork, Image], int] = _admitted,
    staging: bool = False,
) -> Image:
    """Record an upload and its pin: queued → saving, or → uploading for `staging`; gives the image.

    `admit` is asked, once the image may take bytes, how many of them to reserve, and raises where that is too much.
    Raises NotFound, Forbidden, Conflict (not queued), Invalid (formats unset), Gone (a base is), and what `admit` does.
    """
    image = load_modifiable(uow, caller, image_id, policy.may_modify if staging else policy.may_upload)
    (image.begin_staging if staging else image.begin_saving)(upload, at=at)
    reserved = admit(uow, image)
    for base in bases:
        _require_live(uow, base)
    uow.images.save(image, expect=Status.QUEUED)
    pin = Pin(
        id=upload.id,
        owner=image.owner,
        kind=upload.kind,
        image_id=image.id,
        process=upload.process,
        upload_id=upload.id,
        expires_at=expires_at,
        reserved=reserved,
    )
    uow.pins.add(pin, bases=bases)
    return image


def commit(uow: UnitOfWork, work: Commit, *, at: datetime) -> Image:
    """Delete the pin and make the image active with what was written: saving → active.

    The same commit again gives the image as it is. Raises Gone when the image was deleted, the pin has expired or a
    base is no longer live, Conflict when the upload was given up or another one has taken its place.
    """
    bases = uow.pins.bases(work.upload_id)
    pinned = uow.pins.remove(work.upload_id)
    image = uow.images.get(canonical_id(work.image_id))
    if image is None:
        raise Gone(f"Image {work.image_id} was deleted while its data was uploaded.")
    if image.was_saved(work.upload_id):
        return image
    if not pinned and image.is_taking(work.upload_id):
        raise Gone(f"The upload of image {work.image_id} took too long and its data is gone; upload it again.")
    written = work.written
    told = work.tells_change and tells_change(uow, image, written.base)
    image.become_active(work.upload_id, _contents(work, told=told), at=at)
    settle(uow, work.copies)
    if work.in_blocks:
        add_manifest(uow, written)
    uow.images.save(image, expect=Status.SAVING, upload=work.upload_id)
    for base in bases:
        let_go(uow, base, at=at)
    if work.in_blocks and written.base is not None:
        look_below(uow, image.id, written.manifest, at=at)
    if image.os_hash_value is None or image.checksum is None:
        enqueue(uow, image_task(HASH, image_id=image.id, owner=image.owner, by=work.by, at=at))
    return image


def add_manifest(uow: UnitOfWork, written: Written) -> None:
    """Record what was written as a live manifest. Raises Gone when its base is none any more."""
    if written.base is not None:
        _require_live(uow, written.base)
    uow.manifests.add(
        Manifest(
            id=written.manifest,
            digest=written.digest,
            base=written.base,
            depth=written.depth,
            size=written.size,
            listed=written.listed_bytes,
        )
    )


def chain_of(written: Written, below: Sequence[StoredManifest]) -> Sequence[StoredManifest]:
    """What was written, over what it lies over, to be opened before anything names it."""
    names = [each.name for each in below]
    base = below[names.index(written.base) :] if written.base is not None else ()
    return StoredManifest(written.manifest, written.digest), *base


async def settled(services: Services, written: Written, step: Callable[[UnitOfWork], T]) -> T:
    """Run the step that commits what was written; if it is refused, the manifest's file goes with it.

    Then its transaction was taken back: nothing names the manifest, not even as retired, and nothing ever will. After
    an error that came when the step was done it may be committed in spite of it, even much later, after a crash: it is
    left to gc, which first makes sure. A cancellation comes after the step.
    """
    refused = True

    def run(uow: UnitOfWork) -> T:
        nonlocal refused
        result = step(uow)
        refused = False
        return result

    try:
        # To its end: a file that may still be committed must not be taken for garbage, nor held for longer than that.
        return await to_its_end(services.database.write(run))
    except (CatalogError, BlockstoreError):
        if refused:
            discard(services, written)
        raise
    finally:
        if written.hold is not None:
            written.hold.release()


def drop_written(services: Services, written: Written) -> None:
    """Nobody commits this: let it go at once."""
    if written.hold is not None:
        written.hold.release()
    discard(services, written)


def discard(services: Services, written: Written) -> None:
    """Let the file of a manifest go that no image gets; one that stays is garbage, so a failure is only logged."""
    try:
        services.blocks.forget_manifest(written.manifest)
    except BlockstoreError as error:
        log.warning("manifest %s stays behind: %s", written.manifest, error)


def abandon(uow: UnitOfWork, image_id: str, upload_id: str, *, at: datetime) -> bool:
    """Undo begin: the pin goes, and an image that this upload was for is queued again; whether one was."""
    drop_pin(uow, upload_id, at=at)
    image = uow.images.get(canonical_id(image_id))
    if image is None or not image.is_taking(upload_id):
        return False
    before = image.status
    image.back_to_queued(upload_id, at=at)
    uow.images.save(image, expect=before, upload=upload_id)
    return True


def drop_pin(uow: UnitOfWork, pin_id: str, *, at: datetime) -> None:
    """Delete a pin that leads to no image; bases that it alone held are retired."""
    bases = uow.pins.bases(pin_id)
    uow.pins.remove(pin_id)
    for base in bases:
        let_go(uow, base, at=at)


def forget(services: Services, pin_id: str) -> None:
    """Let a settled pin's journal go; one that stays is garbage and harms nobody, so a failure is only logged."""
    try:
        services.blocks.forget_journal(pin_id)
    except BlockstoreError as error:
        log.warning("the journal of pin %s stays behind: %s", pin_id, error)


def forget_left_behind(services: Services, pin: Pin) -> None:
    """Let a deleted pin's journal go, unless its writer lives: then it stops by itself, and forgets it then.

    A session's goes at once: nobody makes it again.
    """
    if pin.kind is UploadKind.SESSION or not services.blocks.is_alive(pin.process):
        forget(services, pin.id)


def tells_change(uow: UnitOfWork, image: Image, base: str | None) -> bool:
    """Whether how much was not inherited of the base, if any, may be told: the image may have been given away since."""
    parent = None if base is None or image.parent is None else uow.images.get(image.parent)
    return parent is None or policy.reached_by(image.owner, parent)


def _contents(work: Commit, *, told: bool) -> Contents:
    hashes = work.written.hashes
    return Contents(
        size=work.written.size,
        checksum=hashes.get(CHECKSUM),
        os_hash_algo=work.hashing,
        os_hash_value=hashes.get(work.hashing),
        locations=(*((our_location(work.store, work.written.manifest),) if work.in_blocks else ()), *work.copies),
        changed_size=work.written.changed_bytes if told else None,
        virtual_size=work.virtual_size,
    )


def _require_live(uow: UnitOfWork, manifest_id: str) -> None:
    manifest = uow.manifests.get(manifest_id)
    if manifest is None or manifest.state is not ManifestState.LIVE:
        raise Gone("The base of this upload is gone; upload the image without it.")
