"""What a request to import an image says: the way of import, by its name in this API."""

from __future__ import annotations

from httpapi.wire.errors import BadRequest


def method_name(document: object) -> str:
    """The way that the document of `POST …/import` names; raises BadRequest when it names none."""
    method = document.get("method") if isinstance(document, dict) else None
    name = method.get("name") if isinstance(method, dict) else None
    if not isinstance(name, str):
        raise BadRequest('The JSON body names a way of import, such as {"method": {"name": "web-download"}}.')
    return name
