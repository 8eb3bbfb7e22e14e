"""What each worker gets of what is set for the whole service, and how it is told its settings."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from httpapi.job_places import in_server, share
from httpapi.setting_values import Secret
from httpapi.settings import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpapi.settings import Settings

LEAST_SLABS: Final = 16 << 20
"""Bytes of memory for transfers without which a worker could not work."""
_PATH: Final = "path"


def share_of(settings: Settings, number: int) -> Settings:
    """The settings of worker `number`, from 1: the service's, with its part of the memory and of the jobs.

    Nobody has less memory than LEAST_SLABS, so many workers may have more together than was set.
    """
    of = settings.workers
    mine = share(in_server(settings), number, of)
    slabs = max(LEAST_SLABS, settings.slab_budget // of)
    return replace(settings, slab_budget=slabs, jobs=mine.quick, slow_jobs=mine.slow)


def to_document(settings: Settings) -> dict[str, object]:
    """Settings as JSON can carry them; those that are None are left out."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {name: _to_json(value) for name, value in values.items() if value is not None}


def from_document(document: Mapping[str, object]) -> Settings:
    """What `to_document` was given."""
    return load(flags={name: _from_json(value) for name, value in document.items()}, environment={})


def _to_json(value: object) -> object:
    if isinstance(value, Path):
        # Told apart from other texts: a path's blanks are its own, and its bytes need not be UTF-8.
        return {_PATH: str(value)}
    if isinstance(value, Secret):
        # Through a socket that only the two processes have.
        return value.revealed
    if isinstance(value, (tuple, frozenset)):
        return sorted(str(each) for each in value)
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _from_json(value: object) -> object:
    return Path(str(value[_PATH])) if isinstance(value, dict) else value
