"""JSON where there is much of it, as in lists of a thousand images: by orjson, a third of the standard library's time.

Elsewhere the standard library's does: it reads and writes all that Python has, this has stricter ideas of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


def read(text: str) -> Any:  # noqa: ANN401 - whatever the text says
    """The value in a text of JSON. Raises ValueError for what is none."""
    return orjson.loads(text)


def write(document: Mapping[str, object]) -> bytes:
    """A JSON object in UTF-8, with no escapes where none is needed, and no spaces.

    Raises TypeError for texts with halves of surrogate pairs and for integers of more than 64 bits, which the catalog
    takes from nobody.
    """
    return orjson.dumps(document)
