"""How a route is described: parameters, the body, the answers, and the errors by their documented names.

The rest is put together in `document.py`: paths and verbs are those of `routes.py`, an error's status is the error
table's, and what every route can answer is not written at each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema: TypeAlias = "Mapping[str, object]"


@dataclass(frozen=True, slots=True)
class Content:
    """A body of one media type."""

    kind: str
    schema: Schema


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, or a header of the request, by its name; `where` is OpenAPI's `in`."""

    name: str
    description: str
    schema: Schema = field(default_factory=lambda: {"type": "string"})
    where: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no error: its sentence, its bodies by type, and the headers that it has beside the usual."""

    description: str
    content: tuple[Content, ...] = ()
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a request brings."""

    content: tuple[Content, ...]
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One verb on one path.

    `errors` are the documented names of errors that not every route has. `open_tables` in document.py says which those
    are. `gives`: where in its answer stands what other paths need, as a link's expressions by the parameter's name.
    """

    name: str
    summary: str
    answers: Mapping[int, Answer]
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    errors: tuple[str, ...] = ()
    gives: Mapping[str, str] = field(default_factory=dict)


def ref(name: str) -> Schema:
    """A schema of `schemas.py`, by its name there."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_of(name: str) -> tuple[Content, ...]:
    """A JSON body that is as the schema of this name says."""
    return (Content("application/json", ref(name)),)


def bytes_of(kind: str) -> Content:
    """A body of bytes."""
    return Content(kind, {"type": "string", "format": "binary"})


# Groups of errors that come together.
READS_JSON = ("body-timeout", "body-too-large", "unsupported-media-type", "source-lost")
"""Of a route that reads a JSON body."""

NO_BYTES = Answer("the image has no bytes yet")
"""What reads of an image's bytes answer with 204."""

OF_AN_IMAGE = ("not-found", "forbidden")
"""Of a route below an image."""

WRITES = ("catalog-full",)
"""Of a route that changes the catalog."""

COPIES = ("store-down", "copy-lost", "copy-wrong")
"""Of a route that reads copies of images in stores."""

STORE = ("store-unavailable", "pack-poisoned", "lease-lost", "missing", "damaged", "geometry-broken")
"""Of a route that reads or writes image data."""
