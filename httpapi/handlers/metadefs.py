"""Metadata definitions: namespaces, and what each has, which is one set of handlers for every kind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.model.metadef import Kind
from catalog.usecases import metadef_parts, namespaces
from catalog.usecases.metadef_queries import parse_namespace_query, parse_page
from httpapi.body import read_json, refuse_body
from httpapi.caller import CALLER
from httpapi.handlers.image_record import wire_time
from httpapi.proxies import base_url
from httpapi.wire.json_body import parse_object
from httpapi.wire.metadefs import (
    APPEND_HEADER,
    SCHEMAS,
    DefinitionRecord,
    NamespaceRecord,
    namespaces_json,
    path_of,
    wants_append,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalog.model.metadef import Namespace, Part
    from catalog.usecases.services import Services
    from httpapi.caller import Handler


@dataclass(frozen=True, slots=True)
class NamespacesHandlers:
    """The verbs on namespaces; `body_timeout` is how many seconds a body may stand still."""

    services: Services
    body_timeout: float

    async def list(self, request: web.Request) -> web.Response:
        """A page of namespaces."""
        refuse_body(request)
        pairs = list(request.query.items())
        query = parse_namespace_query(pairs, self.services.limits)
        found, more = await namespaces.list_namespaces(self.services, request[CALLER], query)
        records = [_record(each.namespace, each.parts) for each in found]
        return _json(namespaces_json(records, pairs, more=more))

    async def create(self, request: web.Request) -> web.Response:
        """201 with the namespace and all that it was made with."""
        said = parse_object(await read_json(request, idle_seconds=self.body_timeout))
        made = await namespaces.create(self.services, request[CALLER], said)
        response = _json(_record(made.namespace, made.parts).to_json(), status=201)
        response.headers["Location"] = base_url(request) + path_of(made.namespace.name)
        return response

    async def show(self, request: web.Request) -> web.Response:
        """The namespace and all that it has."""
        refuse_body(request)
        kind = request.query.get("resource_type", "")
        found = await namespaces.show(self.services, request[CALLER], request.match_info["namespace"], kind)
        return _json(_record(found.namespace, found.parts).to_json())

    async def change(self, request: web.Request) -> web.Response:
        """The namespace's own attributes, as they are then."""
        said = parse_object(await read_json(request, idle_seconds=self.body_timeout))
        changed = await namespaces.change(self.services, request[CALLER], request.match_info["namespace"], said)
        return _json(_record(changed, {}).to_json())

    async def delete(self, request: web.Request) -> web.Response:
        """204: it is gone, with all that it had."""
        refuse_body(request)
        await namespaces.delete(self.services, request[CALLER], request.match_info["namespace"])
        return web.Response(status=204)

    async def resource_types(self, request: web.Request) -> web.Response:
        """All types of resources."""
        refuse_body(request)
        found = await namespaces.list_resource_types(self.services, request[CALLER])
        told = [
            {"name": each.name, "created_at": wire_time(each.created_at), "updated_at": wire_time(each.updated_at)}
            for each in found
        ]
        return _json({"resource_types": told})


@dataclass(frozen=True, slots=True)
class PartsHandlers:
    """The verbs on what a namespace has of one kind."""

    services: Services
    body_timeout: float
    kind: Kind

    async def list(self, request: web.Request) -> web.Response:
        """All of them; of tags a page."""
        refuse_body(request)
        page = parse_page(list(request.query.items()), self.services.limits) if self.kind is Kind.TAGS else None
        namespace = request.match_info["namespace"]
        found = await metadef_parts.list_parts(self.services, request[CALLER], namespace, self.kind, page)
        return _json(_listed(self.kind, namespace, found))

    async def add(self, request: web.Request) -> web.Response:
        """201 with the new one."""
        said = parse_object(await read_json(request, idle_seconds=self.body_timeout))
        namespace = request.match_info["namespace"]
        made = await metadef_parts.add(self.services, request[CALLER], namespace, self.kind, said)
        return _json(_told(self.kind, namespace, made), status=201)

    async def add_several(self, request: web.Request) -> web.Response:
        """201 with the new tags, which take the place of the old ones unless the header says otherwise."""
        said = parse_object(await read_json(request, idle_seconds=self.body_timeout))
        namespace, append = request.match_info["namespace"], wants_append(request.headers.get(APPEND_HEADER))
        made = await metadef_parts.add_tags(self.services, request[CALLER], namespace, said, append=append)
        return _json(_listed(self.kind, namespace, made), status=201)

    async def add_named(self, request: web.Request) -> web.Response:
        """201 with a new one, of which the path says all."""
        refuse_body(request)
        namespace, name = _named(request)
        made = await metadef_parts.add(self.services, request[CALLER], namespace, self.kind, {"name": name})
        return _json(_told(self.kind, namespace, made), status=201)

    async def show(self, request: web.Request) -> web.Response:
        """One of them; a property, by the name that it has on a type of resource."""
        refuse_body(request)
        on = request.query.get("resource_type", "") if self.kind is Kind.PROPERTIES else ""
        namespace, name = _named(request)
        found = await metadef_parts.show(self.services, request[CALLER], namespace, self.kind, name, on)
        return _json(_told(self.kind, namespace, found))

    async def change(self, request: web.Request) -> web.Response:
        """One of them, as it is then."""
        said = parse_object(await read_json(request, idle_seconds=self.body_timeout))
        namespace, name = _named(request)
        changed = await metadef_parts.change(self.services, request[CALLER], namespace, self.kind, name, said)
        return _json(_told(self.kind, namespace, changed))

    async def remove(self, request: web.Request) -> web.Response:
        """204: it is gone."""
        refuse_body(request)
        namespace, name = _named(request)
        await metadef_parts.remove(self.services, request[CALLER], namespace, self.kind, name)
        return web.Response(status=204)

    async def clear(self, request: web.Request) -> web.Response:
        """204: all of them are gone."""
        refuse_body(request)
        await metadef_parts.clear(self.services, request[CALLER], request.match_info["namespace"], self.kind)
        return web.Response(status=204)


def routes_of(services: Services, body_timeout: float) -> dict[str, dict[str, Handler]]:
    """The verbs by their path below `/metadefs`."""
    whole = NamespacesHandlers(services, body_timeout)
    found: dict[str, dict[str, Handler]] = {
        "/resource_types": {"GET": whole.resource_types},
        "/namespaces": {"GET": whole.list, "POST": whole.create},
        "/namespaces/{namespace}": {"GET": whole.show, "PUT": whole.change, "DELETE": whole.delete},
    }
    for kind in Kind:
        parts = PartsHandlers(services, body_timeout, kind)
        together: dict[str, Handler] = {"GET": parts.list, "POST": parts.add, "DELETE": parts.clear}
        single: dict[str, Handler] = {"GET": parts.show, "PUT": parts.change, "DELETE": parts.remove}
        if kind is Kind.TAGS:
            together["POST"], single["POST"] = parts.add_several, parts.add_named
        if kind is Kind.ASSOCIATIONS:
            del together["DELETE"], single["GET"], single["PUT"]
        found[f"/namespaces/{{namespace}}/{kind}"] = together
        found[f"/namespaces/{{namespace}}/{kind}/{{name}}"] = single
    return found


def _named(request: web.Request) -> tuple[str, str]:
    return request.match_info["namespace"], request.match_info["name"]


def _record(namespace: Namespace, parts: Mapping[Kind, Sequence[Part]]) -> NamespaceRecord:
    told = {kind: [_definition(part) for part in parts.get(kind, ())] for kind in Kind}
    return NamespaceRecord(
        namespace=namespace.name,
        visibility=namespace.visibility.value,
        protected=namespace.protected,
        owner=namespace.owner,
        created_at=wire_time(namespace.created_at),
        updated_at=wire_time(namespace.updated_at),
        display_name=namespace.display_name,
        description=namespace.description,
        objects=told[Kind.OBJECTS],
        properties=told[Kind.PROPERTIES],
        tags=told[Kind.TAGS],
        associations=told[Kind.ASSOCIATIONS],
    )


def _definition(part: Part) -> DefinitionRecord:
    return DefinitionRecord(part.name, wire_time(part.created_at), wire_time(part.updated_at), part.content)


def _told(kind: Kind, namespace: str, part: Part) -> Mapping[str, object]:
    record = _definition(part)
    if kind is Kind.OBJECTS:
        return record.object_json(namespace)
    return record.named() if kind is Kind.PROPERTIES else record.dated()


def _listed(kind: Kind, namespace: str, parts: Sequence[Part]) -> Mapping[str, object]:
    records = [_definition(part) for part in parts]
    if kind is Kind.OBJECTS:
        return {"objects": [each.object_json(namespace) for each in records], "schema": f"{SCHEMAS}/objects"}
    if kind is Kind.PROPERTIES:
        return {"properties": {each.name: dict(each.content) for each in records}}
    if kind is Kind.TAGS:
        return {"tags": [{"name": each.name} for each in records]}
    return {"resource_type_associations": [each.dated() for each in records]}


def _json(document: object, *, status: int = 200) -> web.Response:
    body = json.dumps(document, ensure_ascii=False).encode()
    return web.Response(status=status, body=body, content_type="application/json")
