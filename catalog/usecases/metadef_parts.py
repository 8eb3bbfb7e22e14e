"""What namespaces of metadata definitions have, of any kind: list, show, add, change, take away.

`metadefs/kinds.py` has all that tells one kind from another.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from catalog import metadef_policy
from catalog.metadefs.kinds import KINDS
from catalog.metadefs.reading import read_part, read_tags
from catalog.model.errors import NotFound
from catalog.model.metadef import Kind, Page
from catalog.usecases.metadef_prefixes import prefix_of
from catalog.usecases.namespaces import check_may, check_unprotected, check_usage, load_namespace, ordered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalog.model.caller import Caller
    from catalog.model.metadef import Namespace, Part
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services


async def list_parts(
    services: Services, caller: Caller, namespace: str, kind: Kind, page: Page | None = None
) -> Sequence[Part]:
    """All that it has of a kind, or a page of it. Raises NotFound (also for a marker that it has not), Forbidden."""
    rules = KINDS[kind].rules

    def find(uow: UnitOfWork) -> Sequence[Part]:
        found = load_namespace(uow, caller, namespace)
        check_may(caller, rules.list, found, f"list {kind.value}")
        parts = uow.metadefs.parts_of_kind([namespace], kind)[namespace]
        parts = _page_of(kind, parts, page) if page is not None else ordered(kind, parts)
        return parts if metadef_policy.may_define(caller, rules.show, found) else []

    return await services.database.read(find)


async def show(
    services: Services, caller: Caller, namespace: str, kind: Kind, name: str, resource_type: str = ""
) -> Part:
    """One of them; with a type of resource, by the name that it has there. Raises NotFound, Forbidden."""

    def find(uow: UnitOfWork) -> Part:
        found = load_namespace(uow, caller, namespace)
        check_may(caller, KINDS[kind].rules.show, found, f"see {kind.value}")
        own = _own_name(uow, caller, found, name, resource_type) if resource_type else name
        return _load(uow, found, kind, own)

    return await services.database.read(find)


async def add(services: Services, caller: Caller, namespace: str, kind: Kind, said: Mapping[str, object]) -> Part:
    """A new one. Raises Invalid, ReadOnlyAttribute, NotFound, Forbidden, Conflict, LimitExceeded."""
    new = await asyncio.to_thread(read_part, kind, said, at=services.clock())

    def keep(uow: UnitOfWork) -> Part:
        found = load_namespace(uow, caller, namespace)
        check_may(caller, KINDS[kind].rules.add, found, f"add {kind.value}")
        uow.metadefs.add_part(namespace, new)
        check_usage(uow, namespace)
        return new

    return await services.database.write(keep)


async def add_tags(
    services: Services, caller: Caller, namespace: str, said: Mapping[str, object], *, append: bool
) -> Sequence[Part]:
    """Several tags, beside those that are there or in their place: all of them or none.

    Raises as `add`; Forbidden also where tags of a protected namespace would go.
    """
    new = await asyncio.to_thread(read_tags, said, at=services.clock())

    def keep(uow: UnitOfWork) -> Sequence[Part]:
        found = load_namespace(uow, caller, namespace)
        check_may(caller, KINDS[Kind.TAGS].rules.add_several or "", found, "add tags")
        if not append and uow.metadefs.usage(namespace).counts.get(Kind.TAGS):
            check_unprotected(found)
            uow.metadefs.remove_parts(namespace, Kind.TAGS)
        for each in new:
            uow.metadefs.add_part(namespace, each)
        check_usage(uow, namespace)
        return new

    return await services.database.write(keep)


async def change(
    services: Services, caller: Caller, namespace: str, kind: Kind, name: str, said: Mapping[str, object]
) -> Part:
    """It becomes what is said, its name too. Raises as `add`."""
    now = services.clock()
    asked = await asyncio.to_thread(read_part, kind, said, at=now)

    def save(uow: UnitOfWork) -> Part:
        found = load_namespace(uow, caller, namespace)
        check_may(caller, KINDS[kind].rules.change or "", found, f"change {kind.value}")
        after = replace(asked, created_at=_load(uow, found, kind, name).created_at)
        uow.metadefs.save_part(namespace, name, after)
        check_usage(uow, namespace)
        return after

    return await services.database.write(save)


async def remove(services: Services, caller: Caller, namespace: str, kind: Kind, name: str) -> None:
    """Take one away. Raises NotFound, Forbidden."""

    def drop(uow: UnitOfWork) -> None:
        found = load_namespace(uow, caller, namespace)
        check_may(caller, KINDS[kind].rules.remove, found, f"delete {kind.value}")
        _load(uow, found, kind, name)
        check_unprotected(found)
        uow.metadefs.remove_part(namespace, kind, name)

    await services.database.write(drop)


async def clear(services: Services, caller: Caller, namespace: str, kind: Kind) -> None:
    """Take all of a kind away. Raises NotFound, Forbidden."""

    def drop(uow: UnitOfWork) -> None:
        found = load_namespace(uow, caller, namespace)
        for rule in KINDS[kind].rules.clear:
            check_may(caller, rule, found, f"delete all {kind.value}")
        check_unprotected(found)
        uow.metadefs.remove_parts(namespace, kind)

    await services.database.write(drop)


def _load(uow: UnitOfWork, namespace: Namespace, kind: Kind, name: str) -> Part:
    part = uow.metadefs.part(namespace.name, kind, name)
    if part is None:
        raise NotFound(f"Namespace {namespace.name!r} has no {KINDS[kind].noun} {name[:80]!r}.")
    return part


def _own_name(uow: UnitOfWork, caller: Caller, namespace: Namespace, name: str, resource_type: str) -> str:
    """A property's name without what stands before it on this type of resource."""
    check_may(caller, KINDS[Kind.ASSOCIATIONS].rules.show, namespace, "see resource types")
    found = uow.metadefs.parts_of_kind([namespace.name], Kind.ASSOCIATIONS)[namespace.name]
    prefix = prefix_of(found, resource_type)
    if prefix is None:
        raise NotFound(f"Namespace {namespace.name!r} is not associated with {resource_type[:80]!r}.")
    if not name.startswith(prefix):
        raise NotFound(f"On {resource_type[:80]!r} names of properties begin with {prefix!r}.")
    return name.removeprefix(prefix)


def _page_of(kind: Kind, parts: Sequence[Part], page: Page) -> Sequence[Part]:
    """A page of a list that is never long: `most` of the kind."""
    if page.sort_key != "id":
        parts = sorted(parts, key=lambda part: getattr(part, page.sort_key))
    if page.descending:
        parts = parts[::-1]
    first = 0
    if page.marker is not None:
        places = [number for number, part in enumerate(parts) if part.name == page.marker]
        if not places:
            raise NotFound(f"There is no {KINDS[kind].noun} {page.marker[:80]!r} to go on behind.")
        first = places[0] + 1
    return parts[first:] if page.limit is None else parts[first : first + page.limit]
