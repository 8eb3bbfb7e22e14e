"""A small server that can be told to misbehave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit.disk_room import disk_room
from tests.kit.small_server import SmallServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def small() -> Iterator[SmallServer]:
    with SmallServer() as running:
        yield running


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """On a disk: of files in memory a client remembers nothing."""
    with disk_room() as directory:
        yield directory
