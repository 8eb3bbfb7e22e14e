"""Metadata definitions as files, in the form of those that the reference ships: loaded, unloaded, exported.

For an operator, beside servers: each file is one transaction, so of one that is refused nothing is kept. What is there
already is left as it is, unless it is said what else is to become of it; so the same files can be loaded again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from catalog.metadefs.kinds import KINDS
from catalog.metadefs.reading import read_namespace
from catalog.model.errors import NotFound
from catalog.model.metadef import Kind, Namespace
from catalog.usecases.namespaces import check_usage, whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from catalog.inventory import Records
    from catalog.metadefs.reading import SaidOfNamespace
    from catalog.model.metadef import Part
    from catalog.ports import UnitOfWork

OWNER: Final = "admin"
"""Whose a namespace is of which a file does not say it, as in the reference."""


class WhatIsThere(StrEnum):
    """What becomes of a namespace that is there already."""

    KEEP = "keep"
    """Nothing."""
    MERGE = "merge"
    """It gets what it has not; what it has stays."""
    UPDATE = "update"
    """It gets what it has not, and what it has becomes what the file says; what the file does not name stays."""
    REPLACE = "replace"
    """It becomes what the file says, and has nothing else."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of one namespace: `added`, `changed` and `removed` count what it has; `new` if it was not there."""

    namespace: str
    new: bool
    added: int = 0
    changed: int = 0
    removed: int = 0

    @property
    def outcome(self) -> str:
        """In a word."""
        if self.new:
            return "added"
        return "changed" if self.added or self.changed or self.removed else "unchanged"


def load(records: Records, said: Mapping[str, object], *, owner: str, there: WhatIsThere, at: datetime) -> Loaded:
    """Load one namespace, all of it or nothing. Raises Invalid, ReadOnlyAttribute, LimitExceeded."""
    asked = read_namespace(_without_nulls(said), at=at)
    wanted = Namespace(
        name=asked.name,
        owner=owner if asked.owner is None else asked.owner,
        created_at=at,
        updated_at=at,
        display_name=asked.display_name,
        description=asked.description,
        visibility=asked.visibility,
        protected=asked.protected,
    )

    def keep(uow: UnitOfWork) -> Loaded:
        before = uow.metadefs.get(asked.name)
        if before is None:
            uow.metadefs.add(wanted)
            done = Loaded(asked.name, new=True, added=_add(uow, asked, asked.parts))
        elif there is WhatIsThere.KEEP:
            return Loaded(asked.name, new=False)
        else:
            done = _bring_together(uow, before, wanted, asked, there)
        check_usage(uow, asked.name)
        return done

    return records.write(keep)


def unload(records: Records, names: Sequence[str]) -> None:
    """Forget these namespaces with all that they have, protected ones too: all or none. Raises NotFound."""

    def drop(uow: UnitOfWork) -> None:
        for name in names:
            if uow.metadefs.get(name) is None:
                raise NotFound(f"There is no namespace {name!r}; nothing was unloaded.")
            uow.metadefs.remove(name)

    records.write(drop)


def unload_all(records: Records) -> Sequence[str]:
    """Forget all namespaces and all types of resources; gives the names that there were."""

    def drop(uow: UnitOfWork) -> Sequence[str]:
        names = uow.metadefs.names()
        for name in names:
            uow.metadefs.remove(name)
        uow.metadefs.forget_resource_types()
        return names

    return records.write(drop)


def exported(records: Records, name: str) -> dict[str, object]:
    """A namespace as a file has it. Raises NotFound."""

    def find(uow: UnitOfWork) -> dict[str, object]:
        found = uow.metadefs.get(name)
        if found is None:
            raise NotFound(f"There is no namespace {name!r}.")
        said: dict[str, object] = {"namespace": found.name, "display_name": found.display_name}
        said |= {"description": found.description, "visibility": found.visibility.value}
        said |= {"protected": found.protected, "owner": found.owner}
        parts = whole(uow, found).parts
        told: dict[str, object] = {
            KINDS[Kind.ASSOCIATIONS].key: [{"name": each.name, **each.content} for each in parts[Kind.ASSOCIATIONS]],
            KINDS[Kind.PROPERTIES].key: {each.name: each.content for each in parts[Kind.PROPERTIES]},
            KINDS[Kind.OBJECTS].key: [{"name": each.name, **each.content} for each in parts[Kind.OBJECTS]],
            # In the order in which they would come again.
            KINDS[Kind.TAGS].key: [{"name": each.name} for each in reversed(parts[Kind.TAGS])],
        }
        return {key: each for key, each in (said | told).items() if each not in (None, [], {})}

    return records.read(find)


def all_names(records: Records) -> Sequence[str]:
    """Of all namespaces."""
    return records.read(lambda uow: uow.metadefs.names())


def _bring_together(
    uow: UnitOfWork, before: Namespace, wanted: Namespace, asked: SaidOfNamespace, there: WhatIsThere
) -> Loaded:
    name = asked.name
    has = {(part.kind, part.name): part for part in uow.metadefs.parts(name)}
    named = {(part.kind, part.name) for part in asked.parts}
    added = _add(uow, asked, [part for part in asked.parts if (part.kind, part.name) not in has])
    changed = removed = 0
    if there is not WhatIsThere.MERGE:
        for part in asked.parts:
            old = has.get((part.kind, part.name))
            if old is not None and old.content != part.content:
                uow.metadefs.save_part(name, part.name, replace(part, created_at=old.created_at))
                changed += 1
        after = replace(wanted, created_at=before.created_at, owner=asked.owner or before.owner)
        if replace(after, updated_at=before.updated_at) != before:
            uow.metadefs.save(name, after)
            changed += 1
    if there is WhatIsThere.REPLACE:
        removed = sum(uow.metadefs.remove_part(name, kind, part) for kind, part in has.keys() - named)
    return Loaded(name, new=False, added=added, changed=changed, removed=removed)


def _add(uow: UnitOfWork, asked: SaidOfNamespace, parts: Sequence[Part]) -> int:
    for part in parts:
        uow.metadefs.add_part(asked.name, part)
    return len(parts)


def _without_nulls(said: Mapping[str, Any]) -> dict[str, object]:
    """The same without what is null, as the reference exports what was not said; not in what properties are."""
    kept = {key: each for key, each in said.items() if each is not None}
    for kind in (Kind.OBJECTS, Kind.ASSOCIATIONS, Kind.TAGS):
        listed = kept.get(KINDS[kind].key)
        if isinstance(listed, list):
            kept[KINDS[kind].key] = [
                {key: value for key, value in each.items() if value is not None} if isinstance(each, dict) else each
                for each in listed
            ]
    return kept
