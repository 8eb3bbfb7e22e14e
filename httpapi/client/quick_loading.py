"""Loading aiohttp without the system's certificates, which takes longer than all the rest of it.

aiohttp makes two TLS contexts when it is imported, and reads the system's authorities for each. This client uses none:
`auth.trust_of` makes the one that an https address needs. Left empty they trust nobody, so a use by mistake would be
refused.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


def load_aiohttp() -> None:
    """For programs that start for one transfer; nothing happens where aiohttp is loaded already."""
    if "aiohttp" in sys.modules:
        return
    # Heavy, too.
    import ssl

    def nothing(_context: ssl.SSLContext) -> None:
        """In place of reading them."""

    ssl.SSLContext.set_default_verify_paths = nothing  # type: ignore[assignment, method-assign]  # only while aiohttp is loaded
    try:
        import aiohttp  # noqa: F401 - for its effect
    finally:
        # What it hid is the base class's own.
        del ssl.SSLContext.set_default_verify_paths
