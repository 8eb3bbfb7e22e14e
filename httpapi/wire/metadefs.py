"""Metadata definitions as they travel: records, lists, links; the keys are the reference's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from httpapi.wire.images import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMESPACES: Final = f"{ROOT}/metadefs/namespaces"
SCHEMAS: Final = f"{ROOT}/schemas/metadefs"
APPEND_HEADER: Final = "X-Openstack-Append"
"""Whether several tags come beside those that are there, instead of in their place."""
_TRUE: Final = frozenset({"1", "t", "true", "on", "y", "yes"})

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class DefinitionRecord:
    """One thing that a namespace has; times as on the wire."""

    name: str
    created_at: str
    updated_at: str
    content: Mapping[str, object]

    def dated(self) -> Document:
        """With its times: a tag by itself, an association."""
        return {"name": self.name, **self.content, "created_at": self.created_at, "updated_at": self.updated_at}

    def named(self) -> Document:
        """With its name: a property by itself."""
        return {"name": self.name, **self.content}

    def object_json(self, namespace: str) -> Document:
        """With its times and links: an object."""
        path = f"{path_of(namespace)}/objects/{quote(self.name, safe=_PLAIN)}"
        return self.dated() | {"self": path, "schema": f"{SCHEMAS}/object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceRecord:
    """What the API tells of a namespace; kinds of which it has nothing are not told."""

    namespace: str
    visibility: str
    protected: bool
    owner: str
    created_at: str
    updated_at: str
    display_name: str | None = None
    description: str | None = None
    objects: Sequence[DefinitionRecord] = ()
    properties: Sequence[DefinitionRecord] = ()
    tags: Sequence[DefinitionRecord] = ()
    associations: Sequence[DefinitionRecord] = field(default=())

    def to_json(self) -> Document:
        """The JSON object."""
        told: Document = {"namespace": self.namespace}
        told |= {} if self.display_name is None else {"display_name": self.display_name}
        told |= {} if self.description is None else {"description": self.description}
        told |= {
            "visibility": self.visibility,
            "protected": self.protected,
            "owner": self.owner,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }
        parts: Document = {
            "resource_type_associations": [each.dated() for each in self.associations],
            "properties": {each.name: dict(each.content) for each in self.properties},
            "objects": [each.object_json(self.namespace) for each in self.objects],
            "tags": [{"name": each.name} for each in self.tags],
        }
        told |= {key: each for key, each in parts.items() if each}
        return told | {"self": path_of(self.namespace), "schema": f"{SCHEMAS}/namespace"}


def path_of(namespace: str) -> str:
    """The path of a namespace."""
    return f"{NAMESPACES}/{quote(namespace, safe=_PLAIN)}"


# What stands in the reference's names, `OS::Nova::Flavor`, and in a path as it is.
_PLAIN: Final = ":"


def namespaces_json(namespaces: Sequence[NamespaceRecord], query: Sequence[tuple[str, str]], *, more: bool) -> Document:
    """A page of namespaces; every parameter of the query is kept in its links."""
    kept = [(name, value) for name, value in query if name != "marker"]
    document: Document = {"namespaces": [each.to_json() for each in namespaces], "first": _list_path(kept)}
    if more:
        document["next"] = _list_path([*kept, ("marker", namespaces[-1].namespace)])
    return document | {"schema": f"{SCHEMAS}/namespaces"}


def wants_append(header: str | None) -> bool:
    """Whether the header says so, in any of the ways in which clients of OpenStack say yes."""
    return header is not None and header.strip().lower() in _TRUE


def _list_path(query: Sequence[tuple[str, str]]) -> str:
    text = urlencode(list(query))
    return f"{NAMESPACES}?{text}" if text else NAMESPACES
