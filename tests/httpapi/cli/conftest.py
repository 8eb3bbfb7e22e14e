"""A small server that can be told to misbehave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit.small_server import SmallServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What verbs remember is each test's own, never the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def small() -> Iterator[SmallServer]:
    with SmallServer() as running:
        yield running
