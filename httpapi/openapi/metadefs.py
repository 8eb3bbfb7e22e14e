"""Metadata definitions, described: one description for every kind of thing that a namespace has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from catalog.metadefs.kinds import KINDS
from catalog.model.metadef import NAMESPACE_SORT_KEYS, PART_SORT_KEYS, Kind, Shown
from httpapi.openapi.operation import READS_JSON, WRITES, Answer, Body, Operation, Parameter, json_of
from httpapi.openapi.schemas import one_of
from httpapi.wire.metadefs import APPEND_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping

_BELOW: Final = ("not-found", "forbidden")
_SAYS: Final = (*_BELOW, *READS_JSON, *WRITES, "invalid", "read-only-attribute", "conflict", "limit-exceeded")
_LIMIT: Final = Parameter("limit", "how many a page has at most; 1,000 are the most", {"type": "integer", "minimum": 0})
_DIRECTION: Final = Parameter("sort_dir", "asc or desc, the default", one_of("asc", "desc"))
_ON: Final = Parameter("resource_type", "properties are named as on this type of resource")
_NAMESPACES: Final = "/v2/metadefs/namespaces"
_NAMESPACE: Final = f"{_NAMESPACES}/{{namespace}}"


@dataclass(frozen=True, slots=True)
class _Words:
    """How one kind is called: in names of operations, and in names of schemas."""

    one: str
    several: str
    schema: str
    schema_of_list: str


_WORDS: Final = {
    Kind.OBJECTS: _Words("object", "objects", "MetadefObject", "MetadefObjects"),
    Kind.PROPERTIES: _Words("property", "properties", "MetadefProperty", "MetadefProperties"),
    Kind.TAGS: _Words("tag", "tags", "MetadefTag", "MetadefTags"),
    Kind.ASSOCIATIONS: _Words("association", "associations", "MetadefAssociation", "MetadefAssociations"),
}


def _list(kind: Kind) -> Operation:
    words = _WORDS[kind]
    paged = (
        _LIMIT,
        Parameter("marker", "the last one on the page before"),
        Parameter("sort_key", "the order; as they came by default", one_of(*PART_SORT_KEYS)),
        _DIRECTION,
    )
    return Operation(
        name=f"list-metadef-{words.several}",
        summary=f"The {words.several} of a namespace",
        parameters=paged if kind is Kind.TAGS else (),
        answers={200: Answer("all of them, or a page", json_of(words.schema_of_list))},
        errors=(*_BELOW, *(("invalid",) if kind is Kind.TAGS else ())),
    )


def _add(kind: Kind) -> Operation:
    words = _WORDS[kind]
    if kind is Kind.TAGS:
        return Operation(
            name="add-metadef-tags",
            summary="Gives a namespace these tags, in the place of those that it has",
            parameters=(Parameter(APPEND_HEADER, "True: beside those that it has", where="header"),),
            body=Body(content=json_of("MetadefTags")),
            answers={201: Answer("the new tags", json_of("MetadefTags"))},
            errors=_SAYS,
        )
    return Operation(
        name=f"add-metadef-{words.one}",
        summary=f"A new {words.one} in a namespace",
        body=Body(content=json_of(words.schema)),
        answers={201: Answer("it", json_of(words.schema))},
        errors=_SAYS,
        gives={"namespace": "$request.path.namespace", "name": "$response.body#/name"},
    )


def _single(kind: Kind) -> dict[str, Operation]:
    words = _WORDS[kind]
    removal = Operation(
        name=f"remove-metadef-{words.one}",
        summary=f"Takes a {words.one} out of a namespace",
        answers={204: Answer("it is gone")},
        errors=(*_BELOW, *WRITES),
    )
    if KINDS[kind].rules.change is None:
        return {"DELETE": removal}
    adds = {
        "POST": Operation(
            name="add-metadef-tag",
            summary="A new tag in a namespace",
            answers={201: Answer("the tag", json_of(words.schema))},
            errors=(*_BELOW, *WRITES, "invalid", "conflict", "limit-exceeded"),
        )
    }
    return (adds if kind is Kind.TAGS else {}) | {
        "GET": Operation(
            name=f"show-metadef-{words.one}",
            summary=f"One {words.one} of a namespace",
            parameters=(_ON,) if kind is Kind.PROPERTIES else (),
            answers={200: Answer("it", json_of(words.schema))},
            errors=_BELOW,
        ),
        "PUT": Operation(
            name=f"change-metadef-{words.one}",
            summary=f"One {words.one} becomes what is said, its name too",
            body=Body(content=json_of(words.schema)),
            answers={200: Answer("it, as it is then", json_of(words.schema))},
            errors=_SAYS,
        ),
        "DELETE": removal,
    }


def _together(kind: Kind) -> dict[str, Operation]:
    words = _WORDS[kind]
    clears = {
        "DELETE": Operation(
            name=f"clear-metadef-{words.several}",
            summary=f"Takes all {words.several} out of a namespace",
            answers={204: Answer("they are gone")},
            errors=(*_BELOW, *WRITES),
        )
    }
    return {"GET": _list(kind), "POST": _add(kind)} | (clears if KINDS[kind].rules.clear else {})


OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "/v2/metadefs/resource_types": {
        "GET": Operation(
            name="list-metadef-resource-types",
            summary="All types of resources that a namespace was associated with",
            answers={200: Answer("all of them", json_of("MetadefResourceTypes"))},
            errors=("forbidden",),
        )
    },
    _NAMESPACES: {
        "GET": Operation(
            name="list-metadef-namespaces",
            summary="Namespaces of metadata definitions, with the types of resources of each",
            parameters=(
                Parameter("visibility", "public or private ones", one_of(*Shown)),
                Parameter("resource_types", "associated with one of these, with commas between them"),
                _LIMIT,
                Parameter("marker", "the name of the last one on the page before"),
                Parameter("sort_key", "the order; created_at by default", one_of(*NAMESPACE_SORT_KEYS)),
                _DIRECTION,
            ),
            answers={200: Answer("a page", json_of("MetadefNamespaces"))},
            errors=(*_BELOW, "invalid"),
        ),
        "POST": Operation(
            name="create-metadef-namespace",
            summary="A new namespace, with all that it is said to have",
            body=Body(content=json_of("MetadefNamespace")),
            answers={201: Answer("the namespace", json_of("MetadefNamespace"), ("Location",))},
            errors=tuple(each for each in _SAYS if each != "not-found"),
            gives={"namespace": "$response.body#/namespace"},
        ),
    },
    _NAMESPACE: {
        "GET": Operation(
            name="show-metadef-namespace",
            summary="A namespace with all that it has",
            parameters=(_ON,),
            answers={200: Answer("the namespace", json_of("MetadefNamespace"))},
            errors=_BELOW,
        ),
        "PUT": Operation(
            name="change-metadef-namespace",
            summary="A namespace's own attributes become what is said, its name too",
            body=Body(content=json_of("MetadefNamespace")),
            answers={200: Answer("its own attributes", json_of("MetadefNamespace"))},
            errors=_SAYS,
            gives={"namespace": "$response.body#/namespace"},
        ),
        "DELETE": Operation(
            name="delete-metadef-namespace",
            summary="Deletes a namespace with all that it has",
            answers={204: Answer("it is gone")},
            errors=(*_BELOW, *WRITES),
        ),
    },
    **{f"{_NAMESPACE}/{kind}": _together(kind) for kind in Kind},
    **{f"{_NAMESPACE}/{kind}/{{name}}": _single(kind) for kind in Kind},
}
"""By path and verb."""
