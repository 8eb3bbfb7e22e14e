"""The file of stores: what can be said in it, and all that is wrong with one in one message."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from httpapi.bootstrap import identity_of
from httpapi.checks import Checked, check
from httpapi.setting_values import Secret
from httpapi.settings import SettingsRefused, load
from httpapi.store_kinds import KINDS, Kind, secret
from httpapi.stores_file import load_stores
from tests.kit.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.store_ports import Store, StoreInfo

README = Path(__file__).parents[2] / "httpapi" / "README.md"


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "stores.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(SettingsRefused) as caught:
        load_stores(file(tmp_path, text))
    return str(caught.value)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A type of store that is not in any file: `memory`, called by its `room`."""

    def build(info: StoreInfo, said: Mapping[str, object]) -> Store:
        if said.get("room") == "none":
            raise ValueError("there is no such room.")
        return MemoryStore(
            str(said.get("room", info.name)), weight=info.weight, default=info.default, read_only="read_only" in said
        )

    monkeypatch.setitem(KINDS, "memory", Kind({"room": str, "read_only": bool}, frozenset(), build))


def test_without_a_file_there_are_blocks_alone() -> None:
    stores = load_stores(None)
    assert not stores.several
    assert [info.name for info in stores.infos()] == ["blocks"]


def test_the_file_of_the_page_says_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY", "SWIFT_PASSWORD"):
        monkeypatch.setenv(name, "not shown")
    text = README.read_text(encoding="utf-8").split("## Stores\n")[1].split("```toml\n")[1].split("```")[0]
    stores = load_stores(file(tmp_path, text))
    assert stores.several
    blocks, ceph = stores.info("blocks"), stores.info("ceph")
    assert blocks is not None
    assert ceph is not None
    deep = stores.info("deep")
    assert deep is not None
    assert (deep.kind, deep.properties["bucket"], deep.properties["prefix"]) == ("s3", "images", "drystone/")
    swift = stores.info("object")
    assert swift is not None
    assert (swift.kind, swift.properties["container"], swift.properties["project"]) == ("swift", "images", "service")
    assert (blocks.weight, blocks.description, blocks.default) == (10, "deduplicated", True)
    assert (ceph.kind, ceph.read_only, ceph.properties) == ("opaque", True, {"schemes": "cinder, rbd"})
    assert stores.of_url("rbd://fsid/pool/image/snap") is not None
    [fast, *_] = stores.infos()
    assert (fast.name, fast.kind, fast.weight, fast.volatile) == ("fast", "file", 100, True)
    assert fast.properties == {"data_dir": "/mnt/fast/images", "mount_point": "/mnt/fast"}


def test_an_empty_file_configures_blocks_by_name(tmp_path: Path) -> None:
    stores = load_stores(file(tmp_path, ""))
    assert stores.several
    assert stores.default == "blocks"


def test_another_store_can_be_the_default(tmp_path: Path, memory: None) -> None:
    stores = load_stores(file(tmp_path, '[stores.fast]\ntype = "memory"\ndefault = true\nweight = -3\n'))
    assert stores.default == "fast"
    assert [(info.name, info.default) for info in stores.infos()] == [("blocks", False), ("fast", True)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 3\n", "[x] is nothing known: there is a [stores.NAME] for each store."),
        ("stores = 3\n", "stores is no table"),
        ("stores.a = 3\n", "stores.a is no table, [stores.a]."),
        ('[stores."a b"]\ntype = "opaque"\n', "A store cannot be called 'a b': up to 63 letters"),
        ('[stores."a,b"]\n', "cannot be called"),
        ('[stores."Ä"]\n', "cannot be called"),
        ("[stores.a]\n", "[stores.a] has the type None: it is one of "),
        ('[stores.a]\ntype = "tape"\n', "[stores.a] has the type 'tape': it is one of "),
        ('[stores.a]\ntype = "opaque"\n', "[stores.a] lacks schemes, without which a store of type opaque is none."),
        (
            '[stores.a]\ntype = "opaque"\nschemes = ["RBD"]\n',
            "schemes in [stores.a]: expected schemes in small letters",
        ),
        ('[stores.a]\ntype = "opaque"\nschemes = ["file"]\n', "file cannot be opaque"),
        ('[stores.a]\ntype = "opaque"\nschemes = []\n', "expected schemes"),
        ('[stores.a]\ntype = "opaque"\nschemes = ["rbd"]\nwaight = 3\n', "waight in [stores.a] is nothing known"),
        ('[stores.a]\ntype = "opaque"\nschemes = ["rbd"]\nweight = "3"\n', "weight in [stores.a]: expected a whole"),
        ('[stores.a]\ntype = "opaque"\nschemes = ["rbd"]\nweight = 1.5\n', "expected a whole number"),
        ('[stores.a]\ntype = "opaque"\nschemes = ["rbd"]\nweight = true\n', "expected a whole number"),
        ('[stores.a]\ntype = "opaque"\nschemes = ["rbd"]\ndefault = true\n', "nothing can be written to it"),
        ('[stores.blocks]\ntype = "file"\n', "[stores.blocks] is our own blocks"),
        ("[stores.blocks]\nvolatile = true\n", "volatile in [stores.blocks] is nothing known"),
        ("[stores.blocks]\ndefault = 3\n", "default in [stores.blocks]: expected true or false"),
        ("[stores\n", "is not TOML"),
        ('[stores.a]\ntype = "file"\n', "[stores.a] lacks directory"),
        ('[stores.a]\ntype = "file"\ndirectory = "x/y"\n', "directory in [stores.a]: expected an absolute path"),
        ('[stores.a]\ntype = "file"\ndirectory = "/"\n', "expected an absolute path"),
        ('[stores.a]\ntype = "file"\ndirectory = "/a/../b"\nmount_point = "/a"\n', "/b does not lie below mount_point"),
        ('[stores.a]\ntype = "file"\ndirectory = "/a"\nreadable_by = "me"\n', "expected one of owner, group, all"),
        (
            '[stores.a]\ntype = "file"\ndirectory = "/a"\n[stores.b]\ntype = "file"\ndirectory = "/b/../a"\n',
            "[stores.a] and [stores.b] are the same place",
        ),
        ('[stores.a]\ntype = "memory"\ndefault = true\n[stores.blocks]\ndefault = true\n', "are all the default: one"),
        ('[stores.a]\ntype = "memory"\n[stores.b]\ntype = "memory"\nroom = "a"\n', "are the same place"),
        ('[stores.a]\ntype = "memory"\nroom = "none"\n', "[stores.a]: there is no such room."),
    ],
)
def test_what_cannot_be_used_is_a_sentence(tmp_path: Path, memory: None, text: str, sentence: str) -> None:
    said = refusal(tmp_path, text)
    assert sentence in said
    assert f"stores_file {tmp_path / 'stores.toml'}" in said


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    said = refusal(tmp_path, '[stores.a]\ntype = "tape"\n[stores.b]\ntype = "opaque"\nweight = "x"\nschemes = 5\n')
    assert "[stores.a]" in said
    assert "And 2 more:" in said
    assert "weight in [stores.b]" in said
    assert "schemes in [stores.b]" in said


def test_a_file_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match=r"stores_file .* cannot be read: No such file"):
        load_stores(tmp_path / "none.toml")


def test_secrets_come_from_files_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text(" hush \n")
    monkeypatch.setenv("BUCKET_KEY", "quiet")
    assert secret({"key_file": path}, "key") == Secret(" hush ")
    assert secret({"key_env": "BUCKET_KEY"}, "key") == Secret("quiet")
    assert secret({}, "key") is None
    with pytest.raises(ValueError, match="both there"):
        secret({"key_file": path, "key_env": "BUCKET_KEY"}, "key")
    with pytest.raises(ValueError, match="names the variable NONE, which is not set"):
        secret({"key_env": "NONE"}, "key")
    with pytest.raises(ValueError, match="cannot be read"):
        secret({"key_file": tmp_path / "none"}, "key")
    path.write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        secret({"key_file": path}, "key")


def test_checks_tell_what_the_file_comes_to(tmp_path: Path) -> None:
    variables = {"DRYSTONE_DATA": str(tmp_path / "data")}
    assert check(load(environment=variables), identity_of).plan["stores"] == "our own blocks alone"
    path = file(tmp_path, '[stores.ceph]\ntype = "opaque"\nschemes = ["rbd"]\nweight = 3\n')
    variables["DRYSTONE_STORES_FILE"] = str(path)
    told = check(load(environment=variables), identity_of).plan["stores"]
    assert told == "by weight: ceph (opaque), blocks (blocks, the default)"
    path.write_text("[stores.a]\n")
    checked = check(load(environment=variables), identity_of)
    assert checked.plan["stores"] == "not usable yet"
    assert "[stores.a] has the type None" in checked.problems[0]


def test_a_store_of_urls_may_be_bounded_by_a_prefix(tmp_path: Path) -> None:
    text = '[stores.web]\ntype = "http"\nurl_prefix = "https://Mirror.example:443/images/"\n'
    stores = load_stores(file(tmp_path, text))
    info = stores.info("web")
    assert info is not None
    assert (info.kind, info.read_only, info.properties) == (
        "http",
        True,
        {"url_prefix": "https://mirror.example/images"},
    )
    store = stores.of_url("https://mirror.example/images/a")
    assert store is not None
    assert store.info == info
    assert stores.of_url("https://mirror.example/other") is None
    assert "decimal" in refusal(tmp_path, '[stores.web]\ntype = "http"\nurl_prefix = "http://0x7f.1/"\n')


def looked_at(tmp_path: Path, text: str) -> Checked:
    variables = {"DRYSTONE_DATA": "/srv/drystone", "DRYSTONE_STORES_FILE": str(file(tmp_path, text))}
    return check(load(environment=variables), identity_of)


@pytest.mark.parametrize("directory", ["/srv/drystone", "/srv/drystone/packs", "/srv", "/srv/x/../drystone/images"])
def test_files_are_not_kept_where_our_data_is(tmp_path: Path, directory: str) -> None:
    problems = looked_at(tmp_path, f'[stores.a]\ntype = "file"\ndirectory = "{directory}"\n').problems
    assert [each for each in problems if each.startswith("[stores.a] keeps its files in /srv")]


def test_a_volatile_store_without_a_mount_point_is_warned_of(tmp_path: Path) -> None:
    text = '[stores.a]\ntype = "file"\ndirectory = "/mnt/a/images"\nvolatile = true\n'
    [warning] = looked_at(tmp_path, text).warnings
    assert warning.startswith("[stores.a] is volatile and has no mount_point")
    assert looked_at(tmp_path, text + 'mount_point = "/mnt/a"\n').warnings == ()
