"""A small server that can be told to misbehave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit.small_server import SmallServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def small() -> Iterator[SmallServer]:
    with SmallServer() as running:
        yield running
