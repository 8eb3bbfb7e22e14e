"""JSON text from outside into plain values, with every way that it can be wrong as one error."""

from __future__ import annotations

import json

from httpapi.wire.errors import BadRequest

# Far more than an image with all its properties needs.
LARGEST_JSON = 1 << 20
# Far beyond every number that the API knows, and below what Python refuses with a sentence for programmers.
_LONGEST_INTEGER = 1000


def parse_json(body: bytes) -> object:
    """The document in `body`; raises BadRequest for anything but JSON in UTF-8 of whole characters."""
    if not body.strip():
        raise BadRequest("Body expected in request.")
    try:
        document: object = json.loads(body.decode("utf-8"), parse_int=_integer, parse_constant=_refuse_constant)
        # A lone half of a surrogate pair passes json.loads, but no database and no answer can carry it.
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise BadRequest("The JSON body is nested too deeply.") from None
    except UnicodeError:
        raise BadRequest("The JSON body holds text that is not valid UTF-8.") from None
    except (json.JSONDecodeError, _NoNumber) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from None
    return document


def parse_object(body: bytes) -> dict[str, object]:
    """The same, where only an object makes sense."""
    document = parse_json(body)
    if not isinstance(document, dict):
        raise BadRequest("The JSON body must be an object, such as {}.")
    return document


class _NoNumber(Exception):
    """What stands for a number is none that is taken here."""


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise _NoNumber(f"a number has {len(digits)} digits")
    return int(digits)


def _refuse_constant(name: str) -> object:
    raise _NoNumber(f"{name} is no JSON number")
