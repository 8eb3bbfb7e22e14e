"""How stores and locations are named in requests and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STORE_HEADER: Final = "x-image-meta-store"
"""The request header that names the store in which an image's bytes are to lie."""

PREFER: Final = "prefer"
"""The parameter of a read that names stores to read from, with commas between them."""


def preferred(values: Iterable[str]) -> Sequence[str]:
    """The stores that these values of `prefer` name, in their order."""
    return [name for name in (part.strip() for part in ",".join(values).split(",")) if name]
