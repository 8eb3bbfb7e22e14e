"""What a request to import into an image says: the way of import and what it needs, and which stores get a copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from httpapi.wire.errors import BadRequest
from httpapi.wire.locations import STORE_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IMPORT_METHODS: Final = "OpenStack-image-import-methods"
"""The ways of import, told with a new image."""

_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "web-download": ("uri",),
    "glance-download": ("glance_image_id", "glance_region", "glance_service_interface"),
}
_USUAL: Final = {"glance_service_interface": "public"}
_LONGEST: Final = 2048
_MOST_STORES: Final = 100


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What an import is asked to do; `stores` None: none was named. `method` has its name and what it needs."""

    method: Mapping[str, str]
    stores: Sequence[str] | None
    all_stores: bool
    all_must_succeed: bool


def method_of(document: object) -> str:
    """The way that the document of `POST …/import` names; raises BadRequest when it names none."""
    method = document.get("method") if isinstance(document, dict) else None
    name = method.get("name") if isinstance(method, dict) else None
    if not isinstance(name, str):
        raise BadRequest('The JSON body names a way of import, such as {"method": {"name": "web-download"}}.')
    return name


def parse_import(document: object, header: str | None) -> ImportRequest:
    """The whole of it, of a way that is known; `header` is the value of `x-image-meta-store`. Raises BadRequest."""
    assert isinstance(document, dict), "it names a way of import"
    method = _method(document["method"])
    every, must = _flag(document, "all_stores", usual=False), _flag(document, "all_stores_must_succeed", usual=True)
    stores = document.get("stores")
    if stores is not None:
        stores = _stores(stores)
    if header is not None and stores is not None:
        raise BadRequest(f"The stores are named twice: by the header {STORE_HEADER} and by stores in the body.")
    if every and (header is not None or stores is not None):
        raise BadRequest(f"all_stores goes neither with stores nor with the header {STORE_HEADER}.")
    named = (header,) if header is not None else stores
    return ImportRequest(method=method, stores=named, all_stores=every, all_must_succeed=must)


def _method(given: Mapping[str, object]) -> Mapping[str, str]:
    """The method's name and what it needs; what else stands there means nothing and is left out."""
    name = str(given["name"])
    found = {"name": name}
    for field in _FIELDS.get(name, ()):
        value = given.get(field, _USUAL.get(field))
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
            raise BadRequest(f"The way of import {name} needs method.{field}: a text of up to {_LONGEST} characters.")
        found[field] = value
    return found


def _flag(document: Mapping[str, object], name: str, *, usual: bool) -> bool:
    value = document.get(name, usual)
    if not isinstance(value, bool):
        raise BadRequest(f"{name} is true or false, not {str(value)[:80]!r}.")
    return value


def _stores(value: object) -> tuple[str, ...]:
    words = value if isinstance(value, list) else []
    if not 0 < len(words) <= _MOST_STORES or not all(isinstance(each, str) and 0 < len(each) <= 255 for each in words):
        raise BadRequest('stores is a list of names of stores, such as ["blocks"].')
    return tuple(dict.fromkeys(words))
