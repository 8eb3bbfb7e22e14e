"""Formats of images, as each way of uploading has them looked at: a stream's on its way, a delta's when it is built."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from catalog.formats.inspection import inspect
from catalog.formats.rules import Formats, refuse
from catalog.formats.watching import Watched, inspected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.formats.questions import Finding
    from catalog.formats.rules import Said
    from catalog.ports import Source, StoredManifest
    from catalog.usecases.services import Services

_log = logging.getLogger("drystone.formats")


def watched(services: Services, said: Said, source: Source) -> Watched | None:
    """The source, inspected on its way; None where nobody looks. It raises FormatRefused where that is enforced."""
    if not _looks(services, said):
        return None
    return Watched(source, inspect(said.disk_format), partial(_judge, services, said), services.blocks.compute)


async def check(services: Services, said: Said, chain: Sequence[StoredManifest]) -> Finding | None:
    """What an image is that nobody saw as a whole, by what is stored of it; None where nobody looks.

    Raises FormatRefused where that is enforced, and the block store's errors.
    """
    if not _looks(services, said):
        return None
    reader = await services.blocks.open(chain)
    try:
        found = await inspected(reader, inspect(said.disk_format), services.blocks.compute)
    finally:
        reader.close()
    _judge(services, said, found)
    return found


def _looks(services: Services, said: Said) -> bool:
    return services.formats is not Formats.OFF and said.container_format == "bare"


def _judge(services: Services, said: Said, found: Finding) -> None:
    if services.formats is Formats.ENFORCE:
        refuse(said, found)
    elif (fault := said.fault(found)) is not None:
        _log.warning("image %s: %s It is taken all the same.", said.image_id, fault)
    if said.fault(found) is None and said.is_remarkable(found):
        _log.warning("image %s is said to be raw, and its content looks like %s", said.image_id, found.content)
