"""What schemathesis is told beside the document: ids of images that are there, so that requests get beyond 404.

It runs in `.openapi`, with `DRYSTONE_BENCH_IMAGES` (ids, with commas). Each hook gets what was made up for one part
of a request, None where there is none, and gives what is sent. Which id takes the place of a made-up one hangs on that
one alone, so that a failure can be sent again.
"""

from __future__ import annotations

import json
import os
import struct
import uuid
import zlib
from typing import Any, TypeAlias

import schemathesis

Values: TypeAlias = "dict[str, Any]"  # made up, so of any kind

_IMAGES = os.environ.get("DRYSTONE_BENCH_IMAGES", "").split(",")
_BLOCKS = "application/vnd.drystone.blocks"
_PATCHES = tuple(f"application/openstack-images-v2.{minor}-json-patch" for minor in (0, 1))
_HOLES, _HELD = 2, 3


def ids_that_are_there(_context: object, parameters: Values | None) -> Values | None:
    """Two of three images are ones that exist."""
    if "image_id" not in (parameters or {}):
        return parameters
    assert parameters is not None
    return {**parameters, "image_id": _known(parameters["image_id"]) or parameters["image_id"]}


def others_that_are_there(_context: object, query: Values | None) -> Values | None:
    """The same for the image that changes are asked since, and for the marker of a page."""
    if query is None:
        return None
    asked = ("since", "marker")
    return {name: (_known(value) or value) if name in asked else value for name, value in query.items()}


def sizes_that_are_true(_context: object, headers: Values | None) -> Values | None:
    """Three of four uploads do without the header of their size, which hardly ever is the body's."""
    name = "x-openstack-image-size"
    if headers is not None and name in headers and _number_of(headers[name]) % 4:
        return {key: value for key, value in headers.items() if key != name}
    return headers


def a_stream_of_blocks(_context: object, value: object) -> Values:
    """Two of three are runs of holes, or blocks of an image; the third is whatever came."""
    data = value if isinstance(value, bytes) else bytes(getattr(value, "data", None) or repr(value).encode())
    number = _number_of(data)
    if number % 3 == 1:
        data = struct.pack("<B3xIII", _HOLES, number % 5, 1 + number % 7, 0)
    elif number % 3 == 2:
        image = uuid.UUID(_IMAGES[number % len(_IMAGES)])
        data = struct.pack("<B3xIII16sI", _HELD, number % 5, 1 + number % 3, 20, image.bytes, number % 3)
    return {"data": data}


def operations_of_a_patch(_context: object, value: object) -> Values:
    """As JSON, under a type that does not say that it is."""
    return {"data": value if isinstance(value, bytes) else json.dumps(value, default=repr).encode()}


def _known(made_up: object) -> str | None:
    number = _number_of(made_up)
    return _IMAGES[number // 3 % len(_IMAGES)] if number % 3 else None


def _number_of(value: object) -> int:
    return zlib.crc32(repr(value).encode())


schemathesis.hook("map_path_parameters")(ids_that_are_there)
schemathesis.hook("map_query")(others_that_are_there)
schemathesis.hook("map_headers")(sizes_that_are_true)
schemathesis.serializer(_BLOCKS)(a_stream_of_blocks)
schemathesis.serializer(*_PATCHES)(operations_of_a_patch)
