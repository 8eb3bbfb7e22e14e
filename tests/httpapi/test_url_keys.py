"""The file with the keys of signed URLs: made at first use, shared, changed while servers run."""

from __future__ import annotations

import asyncio
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from catalog.model.errors import UrlKeysUnavailable
from httpapi import url_keys
from httpapi.settings import Settings, SettingsRefused
from httpapi.url_keys import KeyFile, added, describe_keys, first, path_of, read, removed, url_keys_of

if TYPE_CHECKING:
    from pathlib import Path


def test_the_first_key_is_made_when_it_is_wanted_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "url-keys"
    keys = KeyFile(path)
    assert (keys.find(b"sixsix"), path.exists()) == (None, False)
    key = asyncio.run(keys.newest())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.find(key.id) == key == asyncio.run(KeyFile(path).newest())


def test_processes_that_want_the_first_key_at_once_have_the_same(tmp_path: Path) -> None:
    path = tmp_path / "url-keys"
    with ThreadPoolExecutor(8) as threads:
        found = [*threads.map(lambda _: first(path).key.id, range(8))]
    assert len(set(found)) == 1
    assert len(read(path)) == 1


def test_a_key_that_is_added_signs_at_once_and_one_that_is_removed_counts_no_more(tmp_path: Path) -> None:
    path = tmp_path / "url-keys"
    keys = KeyFile(path)
    old = asyncio.run(keys.newest())
    new = added(path).key
    assert asyncio.run(keys.newest()) == new
    assert keys.find(old.id) == old
    assert removed(path, old.id.hex())
    assert keys.find(old.id) is None
    assert not removed(path, old.id.hex())
    assert removed(path, new.id.hex())
    assert read(path) == ()
    assert asyncio.run(keys.newest()).id not in {old.id, new.id}


@pytest.mark.parametrize(
    "line", ["nonsense", "00 2026-11-27T07:00:00Z AAAA", "0a1b2c3d4e5f today AAAA", "\u00e9", "a b c d", "0a1b2c3d4e5f"]
)
def test_a_broken_file_is_refused_without_saying_what_stands_in_it(tmp_path: Path, line: str) -> None:
    path = tmp_path / "url-keys"
    asyncio.run(KeyFile(path).newest())
    path.write_text(path.read_text() + line + "\n", encoding="utf-8")
    with pytest.raises(SettingsRefused, match="url-keys") as caught:
        KeyFile(path)
    assert line not in str(caught.value).replace(str(path), "")


def test_while_the_file_is_broken_no_key_counts_and_afterwards_they_do_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "url-keys"
    keys = KeyFile(path)
    key = asyncio.run(keys.newest())
    whole = path.read_text()
    path.write_text("half of a li\n")
    for _ in range(2):
        with pytest.raises(UrlKeysUnavailable):
            keys.find(key.id)
    with pytest.raises(UrlKeysUnavailable):
        asyncio.run(keys.newest())
    assert len([line for line in caplog.messages if "Until it is mended" in line]) == 1
    path.write_text(whole)
    assert keys.find(key.id) == key


def test_a_file_that_others_can_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "url-keys"
    added(path)
    path.chmod(0o644)
    read(path)
    assert "chmod 600" in caplog.text


def test_where_no_key_can_be_made_signing_is_unavailable(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "no-such-directory" / "url-keys")
    with pytest.raises(UrlKeysUnavailable, match="no-such-directory"):
        asyncio.run(keys.newest())


def test_the_settings_say_where_the_keys_are_and_whether_there_are_any(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    assert path_of(settings) == tmp_path / url_keys.FILE_NAME
    assert "no key yet" in describe_keys(settings)
    added(path_of(settings))
    assert "1 key in" in describe_keys(settings)
    elsewhere = Settings(data=tmp_path, url_keys_file=tmp_path / "others")
    assert path_of(elsewhere) == tmp_path / "others"
    assert url_keys_of(Settings(data=tmp_path, signed_urls=False)) is None
    os.truncate(path_of(settings), path_of(settings).stat().st_size - 5)
    with pytest.raises(SettingsRefused):
        url_keys_of(settings)
