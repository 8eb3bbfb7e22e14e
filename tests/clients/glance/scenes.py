"""The whole script: scenes by name, each played on a service without images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.clients.glance.script import (
    actions,
    create,
    data,
    deleting,
    discovery,
    imports,
    listing,
    members,
    metadef_parts,
    metadefs,
    patch,
    tags,
    visibility,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.clients.glance.steps import Step

SCENES: Final[Mapping[str, Sequence[Step]]] = {
    "discovery": discovery.STEPS,
    "create": create.STEPS,
    "patch": patch.STEPS,
    "tags": tags.STEPS,
    "members": members.STEPS,
    "actions": actions.STEPS,
    "visibility": visibility.STEPS,
    "listing": listing.STEPS,
    "data": data.STEPS,
    "deleting": deleting.STEPS,
    "imports": imports.STEPS,
    "metadefs": metadefs.STEPS,
    "metadef-parts": metadef_parts.STEPS,
}
