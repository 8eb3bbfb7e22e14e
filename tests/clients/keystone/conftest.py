from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit.real_keystone import Keystone

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    with Keystone(tmp_path_factory.mktemp("keystone")) as running:
        yield running
