"""`drystone admin url-keys`: the ids of keys, a new one, one less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from httpapi.cli.root import FAILURE, OK, USAGE, run
from httpapi.url_keys import KeyFile

if TYPE_CHECKING:
    from collections.abc import Callable

    Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "format").touch()
    return tmp_path / "data"


@pytest.fixture
def url_keys(data: Path, capfd: pytest.CaptureFixture[str]) -> Verb:
    """Runs a verb on the data; gives exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(["admin", "url-keys", *arguments, "--data", str(data)])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_keys_are_added_listed_and_removed_and_no_secret_is_shown(url_keys: Verb, data: Path) -> None:
    assert url_keys("ls") == (OK, "", "")
    old, new = (url_keys("add")[1].strip() for _ in range(2))
    code, out, _ = url_keys("ls")
    rows = [line.split("\t") for line in out.splitlines()]
    assert (code, [(row[0], row[2]) for row in rows]) == (OK, [(old, "counts"), (new, "signs")])
    told = json.loads(url_keys("ls", "--json")[1])
    assert [(each["id"], each["signs"]) for each in told] == [(old, False), (new, True)]
    for line in (data / "url-keys").read_text().splitlines():
        assert line.split()[-1] not in out
    keys = KeyFile(data / "url-keys")
    assert keys.find(bytes.fromhex(old)) is not None
    assert url_keys("rm", old.upper()) == (OK, "", "")
    assert keys.find(bytes.fromhex(old)) is None
    code, _, err = url_keys("rm", old, new)
    assert (code, old in err) == (FAILURE, True)
    assert url_keys("ls")[1] == ""


def test_where_no_data_is_no_key_is_made(url_keys: Verb, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (data / "format").unlink()
    code, _, err = url_keys("add")
    assert (code, "there is no Drystone data" in err) == (FAILURE, True)
    assert not (data / "url-keys").exists()
    elsewhere = str(data / "others")
    assert run(["admin", "url-keys", "rm", "--data", str(data)]) == USAGE
    config = data / "drystone.toml"
    config.write_text(f'url_keys_file = "{elsewhere}"\n')
    assert run(["admin", "url-keys", "add", "--config", str(config)]) == OK
    assert Path(elsewhere).exists()
