from __future__ import annotations

import os
import stat
import tomllib
from typing import TYPE_CHECKING

import pytest

from httpapi.private_file import write_own, write_private
from httpapi.toml_text import toml_text

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "file", "grüße")
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == 0o600
    assert (tmp_path / "file").read_text(encoding="utf-8") == "grüße"


def test_a_replaced_file_hands_on_its_permissions_and_a_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_private(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert mode(tmp_path / "real") == 0o640


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_private(tmp_path / "file", "\ud800")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_an_own_file_inherits_nothing_and_follows_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _user: int, _group: int) -> None:
        raise AssertionError

    monkeypatch.setattr(os, "fchown", refuse)
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o644)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("nothing")
    for name in ("link", "dangling", "real", "new"):
        before = os.umask(0)
        try:
            write_own(tmp_path / name, name)
        finally:
            os.umask(before)
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_text() == name
        assert mode(tmp_path / name) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dangling", "link", "new", "real"]
    (tmp_path / "device").symlink_to("/dev/null")
    for name in ("device", ".."):
        with pytest.raises(OSError, match="no regular file"):
            write_own(tmp_path / name, "text")


@pytest.mark.parametrize("text", ["", 'a"b\\c', "tab\tline\nend\x7f\x00", "grüße 🧱", "a.b c"])
def test_any_text_comes_back_from_toml(text: str) -> None:
    assert tomllib.loads(f"{toml_text(text)} = {toml_text(text)}") == {text: text}


def test_a_group_that_cannot_be_handed_on_gets_no_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _user: int, _group: int) -> None:
        raise PermissionError

    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o640)
    monkeypatch.setattr(os, "fchown", refuse)
    write_private(tmp_path / "file", "new")
    assert mode(tmp_path / "file") == 0o600
