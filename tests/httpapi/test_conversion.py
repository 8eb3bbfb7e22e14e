"""Who converts images, as the settings say it, and what `config check` tells of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from httpapi.conversion import converter_of, describe_conversion
from httpapi.settings import Settings, SettingsRefused, load

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_told_what_converts_and_what_its_cage_is_like() -> None:
    told = describe_conversion(Settings())
    assert "/qemu-img, as " in told
    assert ("as nobody" in told) == (os.geteuid() == 0)


def test_what_is_missing_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_conversion(Settings()).startswith("none: qemu-img is not installed")


@pytest.mark.skipif(os.geteuid() != 0, reason="only a service that is root has a user for its cage")
def test_a_user_who_is_not_there_is_told() -> None:
    assert describe_conversion(Settings(convert_user="nobody-at-all")).startswith("none: There is no user")


def test_the_longest_disk_is_the_settings() -> None:
    assert converter_of(Settings(convert_limit=5 << 30)).longest == 5 << 30


def test_less_memory_than_qemu_img_starts_with_is_refused() -> None:
    with pytest.raises(SettingsRefused, match="convert_memory"):
        load(flags={"convert_memory": "512MiB"}, environment={})
