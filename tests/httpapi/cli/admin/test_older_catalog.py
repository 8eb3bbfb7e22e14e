from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from blockstore.data_dir import DataDir
from blockstore.disk import Disk
from blockstore.errors import DataRefused
from catalog.sql import upgrade
from catalog.sql.open import open_catalog
from httpapi.bootstrap import open_services
from httpapi.cli.root import FAILURE, OK, run
from httpapi.settings import Settings
from tests.kit.new_catalog import older_catalog

if TYPE_CHECKING:
    from pathlib import Path

OLDER = "0005"
VERBS = (
    ["stats"],
    ["verify"],
    ["scrub"],
    ["repair", "--from", __file__],
    ["gc"],
    ["gc", "--dry-run"],
    ["gc", "--offline"],
)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """An older version's, in a data directory that nobody has open."""
    DataDir.open(tmp_path, Disk()).close()
    older_catalog(tmp_path / "catalog.sqlite", OLDER)
    return tmp_path / "catalog.sqlite"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "PATIENCE", 0.1)


def schema_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        [schema] = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(schema)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: " ".join(verb[:2]))
def test_no_verb_changes_the_catalog_under_a_running_server_of_an_older_version(
    catalog: Path, verb: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(DataDir.open(catalog.parent, Disk(), purpose="serve")):
        assert run(["admin", *verb, "--data", str(catalog.parent)]) == FAILURE
    said = capfd.readouterr().err
    assert " serve)" in said, "it names who is there"
    assert "Stop every server and worker" in said
    assert schema_of(catalog) == OLDER


@pytest.mark.usefixtures("impatient")
def test_a_server_does_not_either(catalog: Path) -> None:
    settings = Settings(data=catalog.parent)
    with (
        closing(DataDir.open(catalog.parent, Disk(), purpose="serve")),
        pytest.raises(DataRefused, match="older version's"),
        open_services(settings),
    ):
        pass
    assert schema_of(catalog) == OLDER
    with open_services(settings):
        assert schema_of(catalog) > OLDER, "the older one has ended"


def test_alone_a_verb_brings_it_up_to_date(catalog: Path) -> None:
    assert run(["admin", "stats", "--data", str(catalog.parent)]) == OK
    assert schema_of(catalog) > OLDER


def test_several_that_start_at_once_do_it_once_and_all_start(catalog: Path) -> None:
    began: list[int] = []
    failed: list[BaseException] = []

    def start(number: int) -> None:
        try:
            upgrade.bring_up_to_date(catalog.parent, catalog)
            with closing(DataDir.open(catalog.parent, Disk())), closing(open_catalog(catalog)):
                began.append(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert sorted(began) == [0, 1, 2, 3]


def test_whoever_opens_an_older_catalog_does_not_change_it(catalog: Path) -> None:
    with pytest.raises(DataRefused, match=f"older Drystone .schema {OLDER}"):
        open_catalog(catalog)
    assert schema_of(catalog) == OLDER
