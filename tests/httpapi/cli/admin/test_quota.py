"""`drystone admin quota`: what it says, changes and refuses; beside a server, whose next request it counts for."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from httpapi.cli.root import FAILURE, OK, USAGE, run
from tests.kit.filled_store import contents, fill
from tests.kit.image_service import CALLER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Quota = Callable[..., tuple[int, str, str]]

IMAGES = contents(2, 100_000)
BYTES = sum(map(len, IMAGES))
PROJECT = CALLER.project


@pytest.fixture
def data(tmp_path: Path) -> Path:
    fill(tmp_path / "data", IMAGES)
    return tmp_path / "data"


@pytest.fixture
def quota(data: Path, capfd: pytest.CaptureFixture[str]) -> Quota:
    """Runs a verb on the data; gives exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(["admin", "quota", *arguments, "--data", str(data)])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def rows(out: str) -> dict[tuple[str, str], tuple[str, str, str]]:
    found = (line.split("\t") for line in out.splitlines())
    return {(project, name): (used, limit, said_by) for project, name, used, limit, said_by in found}


def test_what_is_set_is_shown_with_what_is_used_and_can_be_taken_back(quota: Quota) -> None:
    code, out, err = quota("set", PROJECT, "--bytes", "2MiB", "--uploads", "unlimited")
    assert (code, err) == (OK, "")
    assert rows(out) == {
        (PROJECT, "images"): ("2", "", ""),
        (PROJECT, "bytes"): (str(BYTES), str(2 << 20), "admin quota"),
        (PROJECT, "uploads"): ("0", "unlimited", "admin quota"),
        (PROJECT, "staged_bytes"): ("0", "", ""),
    }
    quota("set", PROJECT, "--images", "7")
    assert quota("show", PROJECT)[1] != out
    out = quota("unset", PROJECT, "--images", "--uploads")[1]
    assert [limit for _, limit, _ in rows(out).values()] == ["", str(2 << 20), "", ""]
    out = quota("unset", PROJECT)[1]
    assert {limit for _, limit, _ in rows(out).values()} == {""}


def test_all_others_have_what_is_said_of_them_unless_the_file_names_them(
    quota: Quota, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "quotas.toml"
    file.write_text('[default]\nuploads = 4\n[projects.lab]\nimages = 1\n[projects."[red]"]\nimages = 2\n')
    monkeypatch.setenv("DRYSTONE_QUOTA_FILE", str(file))
    out = quota("set", "--default", "--images", "9")[1]
    assert rows(out)["--default", "images"] == ("", "9", "admin quota --default")
    assert rows(out)["--default", "uploads"] == ("", "4", "quota_file [default]")
    out = quota("list")[1]
    assert {project for project, _ in rows(out)} == {"--default", "lab", "[red]", PROJECT}
    assert rows(out)["lab", "images"] == ("0", "1", "quota_file")
    assert rows(out)[PROJECT, "images"] == ("2", "9", "admin quota --default")
    document = json.loads(quota("list", "--json")[1])
    assert document["projects"][PROJECT]["bytes"] == {"used": BYTES, "limit": None, "said_by": None}
    assert document["default"]["uploads"] == {"limit": 4, "said_by": "quota_file [default]"}
    assert "default" not in json.loads(quota("show", "lab", "--json")[1])
    file.write_text("nonsense")
    code, _, err = quota("list")
    assert code == FAILURE
    assert f"The quota_file {file} is not TOML" in err


def test_a_project_without_images_is_asked_about(quota: Quota) -> None:
    code, _, err = quota("set", "projcet", "--images", "3")
    assert (code, err) == (OK, "drystone: project 'projcet' has no images yet: is that its name?\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("set", "--images", "3"), "Name a project, or say --default"),
        (("set", "lab", "--default", "--images", "3"), "Name a project, or say --default"),
        (("set", "lab"), "Name at least one of --images"),
        (("set", "lab", "--bytes", "3GB"), "expected bytes"),
        (("set", "lab", "--images", "-3"), "expected a whole number from 0 to 999999999"),
        (("set", "", "--images", "3"), "no project can be called so"),
        (("show", "x" * 256), "no project can be called so"),
        (("unset",), "Name a project, or say --default"),
    ],
)
def test_what_makes_no_sense_is_a_sentence_and_exit_code_2(
    quota: Quota, arguments: tuple[str, ...], sentence: str
) -> None:
    code, out, err = quota(*arguments)
    assert (code, out) == (USAGE, "")
    assert sentence in err


def test_an_option_without_a_verb_is_told_which_verbs_there_are(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for group, verb in (("quota", "recount"), (None, "stats")):
        words = ["admin", *([] if group is None else [group]), "--data", str(data)]
        assert run(words) == USAGE
        told = capfd.readouterr().err
        assert "a verb stands before --data, one of" in told
        assert verb in told


def test_counters_that_are_wrong_are_found_by_verify_and_counted_anew(
    quota: Quota, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["admin", "verify", "--data", str(data)]) == OK
    with closing(sqlite3.connect(data / "catalog.sqlite")) as catalog, catalog:
        catalog.execute("UPDATE project_usage SET images = 5")
        catalog.execute("INSERT INTO project_usage VALUES ('nobody', 1, 1)")
    capfd.readouterr()
    assert run(["admin", "verify", "--data", str(data)]) == FAILURE
    told = capfd.readouterr().out
    assert f"project '{PROJECT}' is said to have 5 images of {BYTES} bytes, and has 2 images of {BYTES} bytes" in told
    assert (
        "project 'nobody' is said to have 1 images of 1 bytes, and has nothing: `drystone admin quota recount`" in told
    )
    assert rows(quota("recount")[1])[PROJECT, "images"][0] == "2"
    assert run(["admin", "verify", "--data", str(data)]) == OK
