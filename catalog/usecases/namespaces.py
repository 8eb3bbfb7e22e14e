"""Namespaces of metadata definitions: create, show, list, change, delete; and the types of resources there are.

A namespace that the caller may not see is not found, whatever is tried on it. What is said is read on a thread: who may
not define anything can say as much as who may, and it takes a while.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from catalog import metadef_policy, policy
from catalog.limits import check_text
from catalog.metadefs.kinds import KINDS, LARGEST
from catalog.metadefs.reading import check_number, read_namespace
from catalog.model.errors import Forbidden, LimitExceeded, NotFound
from catalog.model.metadef import Kind, Namespace, Whole
from catalog.usecases.judging import judged
from catalog.usecases.metadef_prefixes import prefixed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalog.metadefs.reading import SaidOfNamespace
    from catalog.model.caller import Caller
    from catalog.model.metadef import NamespaceQuery, Part, ResourceType
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

# What a namespace is shown with: who shows it must be allowed to show these.
_SHOWN_WITH: Final = tuple(of.rules.list for of in KINDS.values())


async def create(services: Services, caller: Caller, said: Mapping[str, object]) -> Whole:
    """A new namespace with all that it is said to have, or nothing of it.

    Raises Invalid, ReadOnlyAttribute, Forbidden, Conflict, LimitExceeded.
    """
    now = services.clock()
    asked = await asyncio.to_thread(read_namespace, said, at=now)
    owner = asked.owner if asked.owner is not None else caller.project
    new = _named_in(asked, Namespace(name=asked.name, owner=owner, created_at=now, updated_at=now))
    _check_may_own(services, caller, new.owner)
    check_may(caller, "add_metadef_namespace", new, "make namespaces")
    for kind in {part.kind for part in asked.parts}:
        check_may(caller, KINDS[kind].rules.add, new, f"give a namespace {kind.value}")

    def keep(uow: UnitOfWork) -> Whole:
        uow.metadefs.add(new)
        for part in asked.parts:
            uow.metadefs.add_part(new.name, part)
        check_usage(uow, new.name)
        return whole(uow, new)

    return await services.database.write(keep)


async def show(services: Services, caller: Caller, name: str, resource_type: str = "") -> Whole:
    """A namespace with all that it has, under the names that its properties have on this type of resource.

    Raises NotFound; Forbidden where the policy keeps some of it from the caller.
    """

    def find(uow: UnitOfWork) -> Whole:
        namespace = load_namespace(uow, caller, name)
        for rule in _SHOWN_WITH:
            check_may(caller, rule, namespace, "see all that it has of")
        return prefixed(whole(uow, namespace), resource_type)

    return await services.database.read(find)


async def list_namespaces(services: Services, caller: Caller, query: NamespaceQuery) -> tuple[Sequence[Whole], bool]:
    """A page of namespaces, with the types of resources of each, and whether more follow.

    Raises Forbidden; NotFound when the marker is none that the caller may see.
    """
    if not metadef_policy.may_list_namespaces(caller):
        raise Forbidden("You are not permitted to list namespaces; by default that needs the role reader.")

    def page(uow: UnitOfWork) -> tuple[Sequence[Whole], bool]:
        after = None if query.marker is None else load_namespace(uow, caller, query.marker)
        project = None if caller.is_admin else caller.project

        def page_behind(last: Namespace | None, size: int) -> tuple[Sequence[Namespace], bool]:
            return uow.metadefs.page(project, replace(query, limit=size), last)

        limit = services.limits.page_max if query.limit is None else query.limit
        judges = policy.judges_lists(caller, "get_metadef_namespace")
        found, more = (
            judged(page_behind, lambda each: metadef_policy.namespace_visible(caller, each), after, limit)
            if judges
            else page_behind(after, limit)
        )
        types = uow.metadefs.parts_of_kind([each.name for each in found], Kind.ASSOCIATIONS)
        return [Whole(each, {Kind.ASSOCIATIONS: types[each.name]}) for each in found], more

    return await services.database.read(page)


async def change(services: Services, caller: Caller, name: str, said: Mapping[str, object]) -> Namespace:
    """The namespace's own attributes become what is said, its name too; what it has stays as it is.

    What is not said is as in a new namespace. Raises Invalid, ReadOnlyAttribute, NotFound, Forbidden, Conflict.
    """
    now = services.clock()
    asked = await asyncio.to_thread(read_namespace, said, at=now)

    def save(uow: UnitOfWork) -> Namespace:
        before = load_namespace(uow, caller, name)
        check_may(caller, "modify_metadef_namespace", before, "change")
        owner = asked.owner if asked.owner is not None else caller.project
        if owner != before.owner:
            _check_may_own(services, caller, owner)
        after = _named_in(asked, replace(before, name=asked.name, owner=owner, updated_at=now))
        uow.metadefs.save(name, after)
        return after

    return await services.database.write(save)


async def delete(services: Services, caller: Caller, name: str) -> None:
    """The namespace goes, with all that it has. Raises NotFound, Forbidden: it is protected, too."""

    def drop(uow: UnitOfWork) -> None:
        namespace = load_namespace(uow, caller, name)
        check_may(caller, "delete_metadef_namespace", namespace, "delete")
        check_unprotected(namespace)
        uow.metadefs.remove(name)

    await services.database.write(drop)


async def list_resource_types(services: Services, caller: Caller) -> Sequence[ResourceType]:
    """All types of resources that a namespace was ever associated with. Raises Forbidden."""
    if not metadef_policy.may_list_resource_types(caller):
        raise Forbidden("You are not permitted to list types of resources; by default that needs the role reader.")
    return await services.database.read(lambda uow: uow.metadefs.resource_types())


def load_namespace(uow: UnitOfWork, caller: Caller, name: str) -> Namespace:
    """The namespace, if the caller may know of it; NotFound says the same of unknown and of invisible ones."""
    namespace = uow.metadefs.get(name)
    if namespace is None or not metadef_policy.namespace_visible(caller, namespace):
        raise NotFound(f"No namespace {name[:80]!r} was found.")
    return namespace


def check_may(caller: Caller, rule: str, namespace: Namespace, act: str) -> None:
    """Raise Forbidden unless the policy lets the caller do this."""
    if not metadef_policy.may_define(caller, rule, namespace):
        raise Forbidden(
            f"You are not permitted to {act} (namespace {namespace.name!r}); by default definitions are an admin's to "
            "change, and a reader's to see."
        )


def check_unprotected(namespace: Namespace) -> None:
    """Raise Forbidden where deletion is refused, of the namespace and of what it has."""
    if namespace.protected:
        raise Forbidden(
            f"Namespace {namespace.name!r} is protected: nothing of it can be deleted until a PUT says that it is not."
        )


def check_usage(uow: UnitOfWork, name: str) -> None:
    """Raise LimitExceeded when a namespace has too much."""
    usage = uow.metadefs.usage(name)
    for kind, number in usage.counts.items():
        check_number(f"Namespace {name!r}", kind, number)
    if usage.size > LARGEST:
        raise LimitExceeded(
            f"What namespace {name!r} has would be {usage.size} characters long together; {LARGEST} are the most."
        )


def whole(uow: UnitOfWork, namespace: Namespace) -> Whole:
    """The namespace with all that it has, each kind in its order."""
    found = uow.metadefs.parts(namespace.name)
    return Whole(namespace, {kind: ordered(kind, [each for each in found if each.kind is kind]) for kind in Kind})


def ordered(kind: Kind, parts: Sequence[Part]) -> Sequence[Part]:
    """Parts that came in this order as they are told: by name, tags the newest first, others as they came."""
    if KINDS[kind].by_name:
        return sorted(parts, key=lambda part: part.name)
    return parts[::-1] if kind is Kind.TAGS else parts


def _named_in(asked: SaidOfNamespace, namespace: Namespace) -> Namespace:
    return replace(
        namespace,
        display_name=asked.display_name,
        description=asked.description,
        visibility=asked.visibility,
        protected=asked.protected,
    )


def _check_may_own(services: Services, caller: Caller, owner: str) -> None:
    check_text("owner", owner, services.limits.name_length)
    if owner != caller.project and not policy.may_give_away(caller):
        raise Forbidden("You are not permitted to give a namespace to another project; an admin is, by default.")
