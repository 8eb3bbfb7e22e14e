"""`drystone admin metadefs`: files in the reference's form into a catalog, and out of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from httpapi.cli.root import FAILURE, OK, USAGE, run
from tests.kit.filled_store import fill
from tests.kit.image_service import image_service
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Metadefs = Callable[..., tuple[int, str, str]]

CPU: dict[str, Any] = {
    "namespace": "OS::Compute::CPU",
    "display_name": "CPU",
    "visibility": "public",
    "protected": True,
    "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_"}],
    "properties": {"cores": {"title": "Cores", "type": "integer", "default": 2}},
    "objects": [{"name": "socket", "properties": {"pins": {"title": "Pins", "type": "integer"}}}],
    "tags": [{"name": "fast"}, {"name": "slow"}],
}
RAM: dict[str, Any] = {"namespace": "RAM", "description": "Memory", "owner": "lab"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    fill(tmp_path / "data", [])
    return tmp_path / "data"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    room = tmp_path / "files"
    room.mkdir()
    for name, said in (("cpu", CPU), ("ram", RAM)):
        (room / f"{name}.json").write_text(json.dumps(said))
    (room / "README").write_text("not one of them")
    return room


@pytest.fixture
def metadefs(data: Path, capfd: pytest.CaptureFixture[str]) -> Metadefs:
    """Runs a verb on the data; gives exit code, standard output and standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["admin", "metadefs", *map(str, arguments), "--data", str(data)])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def outcomes(out: str) -> list[list[str]]:
    return [line.split("\t")[1:] for line in out.splitlines()]


def shown(data: Path, path: str) -> Any:
    with image_service(data) as service, RunningServer(service.services) as server:
        return server.call("GET", f"/v2/metadefs/{path}").json


def test_a_directory_is_loaded_served_and_loaded_again_without_a_change(
    metadefs: Metadefs, files: Path, data: Path
) -> None:
    code, out, err = metadefs("load", files)
    assert (code, err) == (OK, "")
    assert outcomes(out) == [["OS::Compute::CPU", "added", "5", "0", "0"], ["RAM", "added", "0", "0", "0"]]
    listed = shown(data, "namespaces?sort_key=namespace&sort_dir=asc")["namespaces"]
    assert [(each["namespace"], each["owner"], each["visibility"]) for each in listed] == [
        ("OS::Compute::CPU", "admin", "public"),
        ("RAM", "lab", "private"),
    ]
    whole = shown(data, "namespaces/OS::Compute::CPU")
    assert whole["properties"]["cores"] == {"title": "Cores", "type": "integer", "default": "2"}
    for how in ((), ("--merge",), ("--update",), ("--replace",)):
        code, out, _ = metadefs("load", files, *how)
        assert (code, {each[1] for each in outcomes(out)}) == (OK, {"unchanged"})
    assert shown(data, "namespaces/OS::Compute::CPU") == whole


def test_what_is_there_stays_or_gets_more_or_changes_or_becomes_the_file(
    metadefs: Metadefs, files: Path, data: Path
) -> None:
    metadefs("load", files)
    changed = {
        "namespace": "OS::Compute::CPU",
        "visibility": "public",
        "properties": {"cores": {"title": "Others", "type": "string"}, "model": {"title": "M", "type": "string"}},
        "tags": [{"name": "fast"}],
    }
    (files / "cpu.json").write_text(json.dumps(changed))

    def now() -> tuple[list[str], str, list[dict[str, str]], bool]:
        found = shown(data, "namespaces/OS::Compute::CPU")
        return sorted(found["properties"]), found["properties"]["cores"]["title"], found["tags"], found["protected"]

    both = [{"name": "slow"}, {"name": "fast"}]
    for how, counts, after in (
        ((), ["unchanged", "0", "0", "0"], (["cores"], "Cores", both, True)),
        (("--merge",), ["changed", "1", "0", "0"], (["cores", "model"], "Cores", both, True)),
        (("--update",), ["changed", "0", "2", "0"], (["cores", "model"], "Others", both, False)),
        (("--replace",), ["changed", "0", "0", "3"], (["cores", "model"], "Others", [{"name": "fast"}], False)),
    ):
        code, out, err = metadefs("load", files / "cpu.json", *how)
        assert (code, err) == (OK, "")
        assert outcomes(out) == [["OS::Compute::CPU", *counts]]
        assert now() == after


BAD: dict[str, tuple[str | bytes, str]] = {
    "half.json": ("{", "not valid JSON"),
    "list.json": ("[]", "must be an object"),
    "empty.json": ("", "Body expected"),
    "nameless.json": ("{}", "namespace"),
    "answer.json": ('{"namespace": "n", "self": "/a"}', "self"),
    "typeless.json": ('{"namespace": "n", "properties": {"p": {"title": "P"}}}', "properties.p"),
    "twice.json": ('{"namespace": "n", "tags": [{"name": "a"}, {"name": "a"}]}', "already"),
    "number.json": ('{"namespace": "n", "objects": [{"name": "o"}, 7]}', "objects[1]"),
    "deep.json": ("[" * 100_000, "nested"),
    "long.json": ('{"namespace": "' + "n" * (1 << 20) + '"}', "larger"),
    "latin.json": (b"\xff\xfe", "UTF-8"),
}


def test_files_that_are_wrong_are_refused_by_name_wholly_and_the_others_are_loaded(
    metadefs: Metadefs, files: Path, data: Path
) -> None:
    for name, (text, _) in BAD.items():
        (files / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = metadefs("load", files)
    assert code == FAILURE
    assert [each[0] for each in outcomes(out)] == ["OS::Compute::CPU", "RAM"]
    lines = err.splitlines()
    assert len(lines) == len(BAD)
    for name, (_, why) in BAD.items():
        [line] = [each for each in lines if f"{files / name} was not loaded" in each]
        assert why in line
    assert len(shown(data, "namespaces")["namespaces"]) == 2
    document = json.loads(metadefs("load", files, "--json")[1])
    assert {each["file"] for each in document if "refused" in each} == {str(files / name) for name in BAD}


def test_a_file_that_makes_too_much_of_what_is_there_changes_nothing(
    metadefs: Metadefs, files: Path, data: Path
) -> None:
    metadefs("load", files)
    before = shown(data, "namespaces/OS::Compute::CPU")
    (files / "cpu.json").write_text(json.dumps(CPU | {"tags": [{"name": str(number)} for number in range(999)]}))
    code, _, err = metadefs("load", files, "--merge")
    assert (code, "1001 tags" in err) == (FAILURE, True)
    assert shown(data, "namespaces/OS::Compute::CPU") == before


def test_what_is_exported_can_be_loaded_elsewhere_and_is_the_same(
    metadefs: Metadefs, files: Path, data: Path, tmp_path: Path
) -> None:
    (files / "twin.json").write_text(json.dumps({"namespace": "ram"}))
    metadefs("load", files)
    whole = shown(data, "namespaces/OS::Compute::CPU")
    code, out, err = metadefs("export", tmp_path / "out")
    assert (code, err) == (OK, "")
    assert [line.split("\t")[1] for line in out.splitlines()] == ["OS::Compute::CPU", "RAM", "ram"]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "os-compute-cpu.json", "ram-2.json", "ram.json",
    ]  # fmt: skip
    code, _, err = metadefs("export", tmp_path / "out")
    assert (code, "is there already" in err) == (FAILURE, True)
    assert metadefs("export", tmp_path / "other", "none")[0] == FAILURE
    assert metadefs("unload", "--all")[:2] == (OK, "OS::Compute::CPU\nRAM\nram\n")
    assert shown(data, "resource_types") == {"resource_types": []}
    assert metadefs("load", tmp_path / "out")[0] == OK

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(each) for key, each in value.items() if key not in {"created_at", "updated_at"}}
        return [timeless(each) for each in value] if isinstance(value, list) else value

    assert timeless(shown(data, "namespaces/OS::Compute::CPU")) == timeless(whole)


def test_single_namespaces_are_unloaded_or_none_is(metadefs: Metadefs, files: Path, data: Path) -> None:
    metadefs("load", files)
    code, out, err = metadefs("unload", "RAM", "none")
    assert (code, out) == (FAILURE, "")
    assert "'none'" in err
    assert len(shown(data, "namespaces")["namespaces"]) == 2
    # One that is protected, too: who does this has the data.
    assert metadefs("unload", "OS::Compute::CPU")[:2] == (OK, "OS::Compute::CPU\n")
    assert [each["namespace"] for each in shown(data, "namespaces")["namespaces"]] == ["RAM"]
    assert metadefs("unload")[0] == metadefs("unload", "RAM", "--all")[0] == USAGE
    assert metadefs("load")[0] == metadefs("load", files, "--owner", "")[0] == USAGE


def test_nulls_of_the_references_exports_are_nothing(metadefs: Metadefs, files: Path, data: Path) -> None:
    nulls = {
        "namespace": "nulls", "description": None, "owner": None, "objects": [{"name": "o", "description": None}],
        "resource_type_associations": [{"name": "r", "prefix": None, "properties_target": None}],
        "properties": {"p": {"title": "P", "type": "string", "default": None}}, "tags": [],
    }  # fmt: skip
    (files / "nulls.json").write_text(json.dumps(nulls))
    assert metadefs("load", files / "nulls.json")[0] == OK
    found = shown(data, "namespaces/nulls")
    assert "description" not in found
    assert found["resource_type_associations"][0].keys() == {"name", "created_at", "updated_at"}
    assert found["properties"]["p"]["default"] is None


def test_an_empty_directory_is_told(metadefs: Metadefs, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = metadefs("load", tmp_path / "empty")
    assert (code, ".json" in err) == (FAILURE, True)
    code, _, err = metadefs("load", tmp_path / "none.json")
    assert (code, "cannot be read" in err) == (FAILURE, True)
