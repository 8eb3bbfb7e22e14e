"""The job `coalesce`: a whole manifest in the place of an image's chain; the image's bytes stay what they are.

The flat manifest is written first, durable and named by nothing. Then one transaction puts it in the place of the one
that was read, if the image still has that one: so a job that comes twice, late, or after a deletion changes nothing.
Until that transaction the chain is live, and its blocks with it; who has it open goes on reading it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from catalog.jobs.steps import Done
from catalog.jobs.subjects import with_bytes
from catalog.model.errors import NoBlocks
from catalog.model.job import JobCancelled
from catalog.model.location import our_location
from catalog.usecases.bases import our_manifests
from catalog.usecases.coalescing import let_go

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from catalog.jobs.context import JobContext
    from catalog.jobs.steps import Effect
    from catalog.ports import StoredManifest, UnitOfWork


async def coalesce_chain(context: JobContext) -> Effect:
    """Flatten the image's chain on the shared threads, and swap if it still has it; nothing if it is flat already."""
    services = context.services
    image_id = str(context.task.input["image_id"])
    done = Done("The image has a whole manifest.", {"image_id": image_id})

    def locate(uow: UnitOfWork) -> Sequence[StoredManifest]:
        try:
            return our_manifests(uow, with_bytes(uow, image_id), services.blocks.store)
        except NoBlocks:
            raise JobCancelled("the image has no blocks any more.") from None

    chain = await services.database.read(locate)
    if len(chain) == 1:
        return lambda _uow, _at: done

    def report(blocks: int, total: int) -> None:
        context.report(blocks, total, f"Looked at {blocks} of {total} blocks.")

    flat = await services.blocks.flatten(chain, report)
    if flat.hold is not None:
        context.let_go = flat.hold.release
    context.undo = partial(services.blocks.forget_manifest, flat.manifest.id)

    def effect(uow: UnitOfWork, at: datetime) -> Done:
        image = with_bytes(uow, image_id)
        if not image.exchange(chain[0].name, our_location(services.blocks.store, flat.manifest.id)):
            raise JobCancelled("the image has another manifest now.")
        uow.manifests.add(flat.manifest)
        uow.images.save(image, expect=image.status)
        let_go(uow, chain[0].name, at=at)
        return done

    return effect
