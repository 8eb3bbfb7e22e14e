from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from httpapi.cli.forget_output import table_of
from httpapi.cli.root import run
from httpapi.client.errors import NotAnImageService
from httpapi.client.forget import judge, made_at
from httpapi.client.retention import Policy
from httpapi.wire.images import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.kit.small_server import SmallServer

    Drystone = Callable[..., tuple[int, str, str]]


@pytest.fixture
def drystone(small: SmallServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Drystone:
    """Runs a verb against the small server; gives exit code, standard output and standard error."""
    monkeypatch.setenv("DRYSTONE_ENDPOINT", small.url)
    for name in ("DRYSTONE_PROJECT", "OS_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def set_zone(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    set_zone("UTC")
    yield set_zone
    monkeypatch.undo()
    time.tzset()


def days(small: SmallServer, *moments: str, **attributes: Any) -> dict[str, str]:
    """An image for each day of November, or moment; ids by them."""
    return {
        moment: small.add(created_at=f"2026-11-{moment}" + ("T11:00:00Z" if len(moment) == 2 else "Z"), **attributes)
        for moment in moments
    }


def test_what_no_rule_keeps_is_deleted_and_each_image_is_shown_with_its_reasons(
    small: SmallServer, drystone: Drystone
) -> None:
    ids = days(small, "20", "21T08:00:00", "21T09:00:00", "22")
    other = small.add("other", created_at="2026-11-01T00:00:00Z")
    code, out, err = drystone("forget", "disk", "--keep-daily", "2", "--keep-last", "1")
    assert (code, err) == (0, "")
    assert [line.split("\t") for line in out.splitlines()] == [
        ["keep", ids["22"], "2026-11-22T11:00:00Z", "10", "last snapshot, daily snapshot"],
        ["keep", ids["21T09:00:00"], "2026-11-21T09:00:00Z", "10", "daily snapshot"],
        ["remove", ids["21T08:00:00"], "2026-11-21T08:00:00Z", "10", ""],
        ["remove", ids["20"], "2026-11-20T11:00:00Z", "10", ""],
    ]
    assert set(small.images) == {ids["22"], ids["21T09:00:00"], other}
    deletions = [path.rpartition("/")[2] for method, path, _ in small.asked if method == "DELETE"]
    assert deletions == [ids["20"], ids["21T08:00:00"]], "the oldest first"


def test_a_dry_run_shows_the_same_and_deletes_nothing(small: SmallServer, drystone: Drystone) -> None:
    ids = days(small, "20", "21", "22")
    dry = drystone("forget", "disk", "--keep-last", "1", "--dry-run")
    assert len(small.images) == 3
    assert drystone("forget", "disk", "--keep-last", "1", "-n", "-q") == (0, f"{ids['20']}\n{ids['21']}\n", "")
    assert len(small.images) == 3
    assert drystone("forget", "disk", "--keep-last", "1") == dry
    assert set(small.images) == {ids["22"]}


@pytest.mark.parametrize("rules", [(), ("--keep-last", "0"), ("--keep-last", "0", "--keep-yearly", "0")])
def test_rules_that_would_keep_nothing_are_refused_with_what_to_do(
    small: SmallServer, drystone: Drystone, rules: tuple[str, ...]
) -> None:
    days(small, "20", "21")
    code, out, err = drystone("forget", "disk", *rules)
    assert (code, out) == (2, "")
    assert "nothing says what to keep" in err
    assert not small.asked


@pytest.mark.parametrize("bad", [("--keep-last", "-1"), ("--keep-daily", "many"), ("--keep-within", "1w")])
def test_a_rule_that_cannot_be_understood_is_refused_by_name(
    small: SmallServer, drystone: Drystone, bad: tuple[str, ...]
) -> None:
    code, _, err = drystone("forget", "disk", *bad)
    assert (code, not small.asked) == (2, True)
    assert bad[0] in err


def test_unlimited_keeps_all_that_a_rule_knows(small: SmallServer, drystone: Drystone) -> None:
    ids = days(small, "20", "21T08:00:00", "21T09:00:00", "22")
    assert drystone("forget", "disk", "--keep-daily", "unlimited", "-q")[1] == ids["21T08:00:00"] + "\n"


def test_what_is_younger_than_the_newest_by_less_stays(small: SmallServer, drystone: Drystone) -> None:
    ids = days(small, "01", "19", "20", "22")
    assert drystone("forget", "disk", "--keep-within", "3d", "-q")[1].split() == [ids["01"], ids["19"]]


def test_protected_images_count_and_are_spared_and_said(small: SmallServer, drystone: Drystone) -> None:
    ids = days(small, "19", "20", protected=True) | days(small, "21") | days(small, "22", protected=True)
    code, out, _ = drystone("forget", "disk", "--keep-last", "1")
    reasons = {line.split("\t")[1]: line.split("\t")[4] for line in out.splitlines()}
    assert code == 0
    assert reasons == {
        ids["22"]: "protected, last snapshot",
        ids["21"]: "",
        ids["20"]: "protected",
        ids["19"]: "protected",
    }
    assert ids["21"] not in small.images
    assert len(small.images) == 3


def test_an_image_that_is_not_active_is_no_version_yet(small: SmallServer, drystone: Drystone) -> None:
    """A push that is under way must not take a place of those that it is meant to follow, nor be deleted."""
    ids = days(small, "20", "21") | days(small, "22", status="saving")
    _, out, _ = drystone("forget", "disk", "--keep-last", "1")
    assert out.splitlines()[0] == f"keep\t{ids['22']}\t2026-11-22T11:00:00Z\t10\tsaving"
    assert set(small.images) == {ids["22"], ids["21"]}


def test_hidden_versions_are_versions(small: SmallServer, drystone: Drystone) -> None:
    ids = days(small, "20", "21", os_hidden=True) | days(small, "22")
    assert drystone("forget", "disk", "--keep-last", "2", "-q")[1] == ids["20"] + "\n"


def test_versions_in_other_formats_are_judged_apart(small: SmallServer, drystone: Drystone) -> None:
    ids = days(small, "19", "20", disk_format="qcow2") | days(small, "21", "22")
    assert drystone("forget", "disk", "--keep-last", "1", "-q")[1].split() == [ids["19"], ids["21"]]


def test_days_are_this_machines(small: SmallServer, drystone: Drystone, wall_clock: Callable[[str], None]) -> None:
    days(small, "21T22:30:00", "21T23:30:00")
    rule = ("forget", "disk", "--keep-daily", "2", "--dry-run")
    # Both are the oldest of what they are: one day, or two.
    assert [line.rpartition("\t")[2] for line in drystone(*rule)[1].splitlines()] == [
        "daily snapshot",
        "oldest daily snapshot",
    ]
    wall_clock("CET-1")
    assert [line.rpartition("\t")[2] for line in drystone(*rule)[1].splitlines()] == ["daily snapshot"] * 2


def test_only_the_callers_own_images_are_versions(
    small: SmallServer, drystone: Drystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = days(small, "20", "21") | days(small, "22", owner="others", visibility="public")
    code, out, err = drystone("forget", "disk", "--keep-last", "1")
    assert (code, out) == (1, "")
    assert "DRYSTONE_PROJECT" in err
    monkeypatch.setenv("DRYSTONE_PROJECT", "default")
    assert drystone("forget", "disk", "--keep-last", "1", "-q")[1] == ids["20"] + "\n"
    monkeypatch.setenv("DRYSTONE_PROJECT", "nobodys")
    code, _, err = drystone("forget", "disk", "--keep-last", "1")
    assert (code, "no image of yours is called 'disk'" in err) == (1, True)


def test_a_name_that_no_image_has_is_an_error_with_what_to_do(drystone: Drystone) -> None:
    code, out, err = drystone("forget", "nothing", "--keep-last", "1")
    assert (code, out) == (1, "")
    assert "`drystone ls`" in err


def test_json_is_one_document_with_all_of_it(small: SmallServer, drystone: Drystone) -> None:
    ids = days(small, "20", "21", "22")
    code, out, _ = drystone("forget", "disk", "--json", "--keep-last", "1", "--keep-monthly", "unlimited")
    document = json.loads(out)
    assert code == 0
    assert document["policy"] == {"last": 1, "monthly": "unlimited"}
    assert (document["name"], document["dry_run"]) == ("disk", False)
    assert document["images"][0] == {
        "id": ids["22"],
        "created_at": "2026-11-22T11:00:00Z",
        "status": "active",
        "size": 10,
        "disk_format": "raw",
        "container_format": "bare",
        "keep": True,
        "reasons": ["last snapshot", "monthly snapshot"],
    }
    assert [each["reasons"] for each in document["images"][1:]] == [[], ["oldest monthly snapshot"]]
    assert document["deleted"] == [ids["21"]]
    assert document["failed"] == document["untried"] == document["gone"] == []


def test_one_that_cannot_be_deleted_is_told_and_keeps_no_other(small: SmallServer, drystone: Drystone) -> None:
    """As when somebody protects it, or deletes it, between the look and the deletions."""
    ids = days(small, "19", "20", "21", "22")

    async def meanwhile(path: str) -> None:
        small.images[ids["20"]]["protected"] = True
        small.images.pop(ids["21"], None)

    small.before_delete = meanwhile
    code, out, err = drystone("forget", "disk", "--keep-last", "1", "--json")
    document = json.loads(out)
    assert code == 1
    assert (document["deleted"], document["gone"]) == ([ids["19"]], [ids["21"]])
    assert [each["id"] for each in document["failed"]] == [ids["20"]]
    assert set(small.images) == {ids["20"], ids["22"]}
    lines = err.splitlines()
    assert any(ids["21"] in line and "had been deleted already" in line for line in lines)
    assert any(ids["20"] in line and "is protected" in line for line in lines)
    assert "1 images are deleted, 1 are not" in lines[-1]


def test_a_server_that_goes_away_ends_it_with_what_was_not_tried(small: SmallServer, drystone: Drystone) -> None:
    ids = days(small, "19", "20", "21", "22")

    async def fall_over(path: str) -> None:
        if path.endswith(ids["20"]):
            raise RuntimeError("the server falls over")

    small.before_delete = fall_over
    code, _, err = drystone("forget", "disk", "--keep-last", "1")
    assert code == 1
    assert f"image {ids['20']} is not deleted" in err
    assert f"image {ids['21']} was not tried" in err
    assert set(small.images) == {ids["20"], ids["21"], ids["22"]}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_asks_first(small: SmallServer, drystone: Drystone, monkeypatch: pytest.MonkeyPatch) -> None:
    days(small, "20", "21", "22")
    rule = ("forget", "disk", "--keep-last", "1")
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    code, _, err = drystone(*rule)
    assert (code, len(small.images)) == (1, 3)
    assert "Delete 2 of 3 images called disk?" in err
    assert "nothing is deleted" in err
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert drystone(*rule)[0] == 0
    assert len(small.images) == 1
    monkeypatch.setattr("sys.stdin", Terminal("no answer is read"))
    assert drystone(*rule)[0] == 0, "there is nothing to ask"
    days(small, "23", "24")
    assert drystone(*rule, "--yes")[0] == 0
    assert len(small.images) == 1


def shown(images: Sequence[ImageRecord], policy: Policy) -> list[str]:
    """The table, as a person sees it, without the spaces at the ends of lines."""
    page = io.StringIO()
    now = datetime(2026, 11, 23, tzinfo=UTC)
    Console(file=page, width=110).print(table_of(judge(images, policy, now)))
    return [line.rstrip() for line in page.getvalue().splitlines()]


def record(day: str, **attributes: Any) -> ImageRecord:
    at = f"2026-11-{day}T23:30:00Z"
    base: dict[str, Any] = {
        "status": "active",
        "visibility": "private",
        "created_at": at,
        "updated_at": at,
        "size": 3 << 20,
    }
    return ImageRecord(**base | {"id": f"{day}{'0' * 6}-0000-4000-8000-000000000000"} | attributes)


def test_the_table_tells_times_by_the_clock_on_the_wall_and_formats_where_they_differ(
    wall_clock: Callable[[str], None],
) -> None:
    wall_clock("CET-1")
    images = [record("22", protected=True), record("21"), record("20", status="[bold]", size=None)]
    assert shown(images, Policy(last=1)) == [
        "        ID        CREATED                 SIZE  REASONS",
        "keep    22000000  2026-11-23 00:30:00  3.0 MiB  protected, last snapshot",
        "remove  21000000  2026-11-22 00:30:00  3.0 MiB",
        "keep    20000000  2026-11-21 00:30:00        -  [bold]",
    ]
    images[1] = record("21", disk_format="qcow2", container_format="bare")
    lines = shown(images, Policy(last=1))
    assert "FORMAT" in lines[0]
    assert "qcow2 bare  3.0 MiB  last snapshot" in lines[2]


def test_a_time_that_is_none_is_a_servers_fault() -> None:
    with pytest.raises(NotAnImageService, match="is no time"):
        judge([record("22", created_at="yesterday")], Policy(last=1), datetime(2026, 11, 23, tzinfo=UTC))
    assert made_at(record("22", created_at="2026-11-22T23:30:00")).astimezone(UTC).hour == 23


def test_the_help_teaches(drystone: Drystone) -> None:
    out = drystone("forget", "--help")[1]
    for word in ("restic", "--dry-run", "midnight", "from cron", "undelete", "unlimited"):
        assert word in out
