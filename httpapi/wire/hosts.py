"""What both ends know of host names: which of them cannot lead off this machine."""

from __future__ import annotations

import ipaddress


def is_loopback(name: str) -> bool:
    """Whether `name` (a host name or an address, no port) can only mean this machine."""
    lower = name.lower().removesuffix(".")
    if lower == "localhost" or lower.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(lower).is_loopback
    except ValueError:
        return False
