"""Entity tags and the headers that compare them (RFC 9110, section 13): pure functions on header values."""

from __future__ import annotations

import re

_TAG = re.compile(r'(?:W/)?"[^"]*"')


def etag_of(image_id: str) -> str:
    """The strong tag of an image's bytes: its id, as the bytes of an active image never change."""
    return f'"{image_id}"'


def is_same_strongly(given: str, etag: str) -> bool:
    """Whether `given` is this very tag, and not a weak one."""
    return given.strip() == etag


def names_weakly(header: str, etag: str) -> bool:
    """Whether a list such as If-None-Match's names this tag, weak or strong, or is `*`."""
    return header.strip() == "*" or any(tag.removeprefix("W/") == etag for tag in _TAG.findall(header))


def names_strongly(header: str, etag: str) -> bool:
    """Whether a list such as If-Match's names this tag, which a weak one never is, or is `*`."""
    return header.strip() == "*" or (not etag.startswith("W/") and etag in _TAG.findall(header))
