from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from httpapi.cli.root import FAILURE, OK, USAGE, run
from tests.kit.filled_store import contents, delete, flip, read
from tests.kit.serve_process import ROOT, ServeProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Admin = Callable[..., tuple[int, str, str]]

IMAGES = contents(2, 300_000)


@pytest.fixture
def admin(filled: tuple[Path, list[str]], capfd: pytest.CaptureFixture[str]) -> Admin:
    """Runs a verb on the data; gives exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(["admin", *arguments, "--data", str(filled[0])])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def facts(out: str) -> dict[str, str]:
    return dict(line.split("\t") for line in out.splitlines() if line.count("\t") == 1)


def test_stats_prints_a_figure_a_line_and_json(filled: tuple[Path, list[str]], admin: Admin) -> None:
    code, out, err = admin("stats", "--garbage")
    assert (code, err) == (OK, "")
    told = facts(out)
    assert told["images active"] == "2"
    assert told["logical bytes"] == str(sum(map(len, IMAGES)))
    assert told["garbage blocks"] == told["dead entries"] == "0"
    assert int(told["index bytes a row"]) > 48
    code, out, _ = admin("stats", "--json")
    document = json.loads(out)
    assert document["store"]["unique"]["blocks"] == int(told["unique blocks"])
    assert document["ratios"]["dedup"] == float(told["ratio dedup"]) > 1
    assert document["store"]["garbage"] is None


def test_verify_says_clean_with_exit_code_0(admin: Admin) -> None:
    code, out, err = admin("verify", "--read-data", "--rate", "1GiB", "--threads", "2")
    assert (code, err) == (OK, "")
    told = facts(out)
    assert told["verdict"] == "clean"
    assert float(told["seconds a GiB of packs"]) > 0


def test_verify_names_place_block_and_images_with_exit_code_1(filled: tuple[Path, list[str]], admin: Admin) -> None:
    root, ids = filled
    pack = max(root.glob("packs/*/*.zst"), key=lambda path: path.name)
    flip(pack, 8 * 3000)
    assert admin("verify")[0] == OK, "headers and tables are right"
    code, out, _ = admin("verify", "--read-data", "--dry-run")
    assert code == FAILURE
    assert re.search(rf"^{pack} bytes 68-\d+: the entry's frame is damaged, block [0-9a-f]{{64}}$", out, re.MULTILINE)
    assert f"{ids[1]}\timage 1\tactive\t1" in out
    assert facts(out)["blocks marked bad"] == "0"
    code, out, _ = admin("verify", "--read-data", "--json")
    document = json.loads(out)
    assert code == FAILURE
    assert document["marked_bad"] == document["found"] == 1
    assert [image["id"] for image in document["harmed"]] == ids[1:]


def test_gc_says_what_it_would_do_and_does_it(filled: tuple[Path, list[str]], admin: Admin) -> None:
    root, ids = filled
    delete(root, ids[0])
    code, out, _ = admin("gc", "--all", "--dry-run")
    assert code == OK
    plan = facts(out)
    assert int(plan["blocks forgotten"]) > 50
    code, out, _ = admin("gc", "--offline", "--all", "--rate", "1GiB")
    assert code == OK
    assert facts(out)["blocks forgotten"] == plan["blocks forgotten"]
    assert int(facts(out)["bytes freed"]) > 200_000
    assert admin("verify", "--read-data")[0] == OK
    document = json.loads(admin("gc", "--json")[1])
    assert (document["forgotten"], document["uploads_given_up"], document["awaited"]) == (0, 0, [])
    assert read(root, ids[1]) == IMAGES[1]


def test_gc_gives_up_what_was_deleted_longer_ago_than_it_is_told_to_keep(
    filled: tuple[Path, list[str]], admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, ids = filled
    delete(root, ids[0], keep=86400.0)

    def given_up(*options: str) -> tuple[int, int]:
        document = json.loads(admin("gc", "--json", *options)[1])
        return document["deleted_images_given_up"], document["manifests_removed"]

    assert facts(admin("stats")[1])["images deleted"] == "1"
    assert given_up() == given_up("--keep-deleted", "1h") == (0, 0)
    assert given_up("--keep-deleted", "0", "--dry-run") == (1, 1)
    code, _, err = admin("gc", "--keep-deleted", "soon")
    assert (code, 'such as "90m"' in err) == (USAGE, True)
    monkeypatch.setenv("DRYSTONE_GC_KEEP_DELETED", "0")
    assert given_up("--keep-deleted", "1h") == (0, 0), "what is said goes before the setting"
    code, out, _ = admin("gc")
    assert (code, facts(out)["deleted images given up"]) == (OK, "1")
    assert "images deleted" not in facts(admin("stats")[1])


def test_a_damaged_index_is_refused_with_the_command_that_mends_it(
    filled: tuple[Path, list[str]], admin: Admin
) -> None:
    root, ids = filled
    index = root / "index" / "data.mdb"
    index.write_bytes(index.read_bytes()[: 4096 * 3])
    for verb in (("stats",), ("verify",), ("gc",)):
        code, _, err = admin(*verb)
        assert code == FAILURE
        assert f"drystone admin rebuild-index --data {root}" in err
    code, out, _ = admin("rebuild-index", "--keep-old")
    assert code == OK
    assert facts(out)["images harmed"] == "0"
    assert facts(out)["old index"].startswith(str(index))
    assert admin("verify", "--read-data")[0] == OK
    assert [read(root, image_id) for image_id in ids] == IMAGES


def test_rebuild_index_names_what_it_skipped_and_the_images_that_miss_it(
    filled: tuple[Path, list[str]], admin: Admin
) -> None:
    root, ids = filled
    pack = max(root.glob("packs/*/*.zst"), key=lambda path: path.name)
    flip(pack, 8 * 3000)
    code, out, err = admin("rebuild-index", "--read-data")
    assert code == FAILURE
    assert f"drystone: skipped {pack}: the entry's frame is damaged at 68" in err
    assert f"{ids[1]}\timage 1\tactive\t1" in out
    code, out, _ = admin("rebuild-index", "--json")
    assert code == OK, "without reading, what the table lists is believed"
    assert json.loads(out)["skipped"] == []


@pytest.mark.parametrize("verb", [("stats",), ("verify",), ("gc",), ("gc", "--offline"), ("rebuild-index",)])
def test_where_there_is_no_data_it_says_so(
    verb: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["admin", *verb, "--data", str(tmp_path / "none")]) == FAILURE
    assert "there is no Drystone data in" in capfd.readouterr().err
    assert not (tmp_path / "none").exists()


def test_the_directory_may_come_from_the_settings(
    filled: tuple[Path, list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "drystone.toml"
    config.write_text(f'data = "{filled[0]}"\n', encoding="utf-8")
    assert run(["admin", "stats", "--config", str(config)]) == OK
    assert facts(capfd.readouterr().out)["images"] == "2"


def test_a_rate_that_is_none_is_refused(admin: Admin) -> None:
    code, _, err = admin("verify", "--rate", "fast")
    assert code == USAGE
    assert "64KiB" in err


def test_beside_a_running_server_stats_and_verify_work_and_the_others_name_it(
    filled: tuple[Path, list[str]], admin: Admin
) -> None:
    with ServeProcess(filled[0]) as server:
        image_id = server.new_image()
        assert server.call("PUT", f"/v2/images/{image_id}/file", IMAGES[0])[0] == 204
        code, out, _ = admin("stats", "--garbage")
        assert (code, facts(out)["images active"], facts(out)["other processes"]) == (OK, "3", "1")
        assert admin("verify", "--read-data")[0] == OK
        code, out, err = admin("gc", "--all")
        assert (code, err, facts(out)["done"]) == (OK, "", "yes")
        for verb in (("gc", "--offline"), ("rebuild-index",)):
            code, _, err = admin(*verb)
            assert code == FAILURE
            assert f"in use by another process ({server.process.pid} serve" in err
        assert server.call("GET", f"/v2/images/{image_id}/file")[1] == IMAGES[0]


def test_verify_finds_nothing_wrong_while_uploads_come(filled: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Verified again and again in a process of its own, while a server takes images in and deletes them."""
    with ServeProcess(filled[0]) as server:
        verify = [sys.executable, "-m", "httpapi", "admin", "verify", "--read-data", "--json", "--data", str(filled[0])]
        for round_number in range(3):
            with subprocess.Popen(verify, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
                for seed in range(4):
                    image_id = server.new_image()
                    data = contents(seed + 1, 200_000 + round_number)[seed]
                    assert server.call("PUT", f"/v2/images/{image_id}/file", data)[0] == 204
                    if seed % 2:
                        assert server.call("DELETE", f"/v2/images/{image_id}")[0] == 204
                out, _ = running.communicate()
            assert running.returncode == 0, out


@pytest.mark.parametrize("verb", ["stats", "verify", "gc", "rebuild-index"])
def test_each_verb_teaches_by_examples(verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["admin", verb, "--help"]) == OK
    assert f"drystone admin {verb}" in capfd.readouterr().out


def test_chown_counts_and_gives_a_projects_images(filled: tuple[Path, list[str]], admin: Admin) -> None:
    ids = filled[1]
    code, out, err = admin("chown", "--from", "project", "--to", "lab", "--dry-run")
    assert (code, err, facts(out)["images"]) == (OK, "", "2")
    code, out, err = admin("chown", "--from", "project", "--to", "lab", ids[0])
    assert (code, facts(out)["images"]) == (OK, "1"), err
    code, out, _ = admin("chown", "--from", "project", "--to", "lab", "--json")
    assert json.loads(out) == {
        "from": "project", "to": "lab", "dry_run": False, "images": 1, "deleted": 0, "former": 0, "uploads": 0,
        "tasks": 0, "members": 0, "namespaces": 0,
    }  # fmt: skip
    code, out, err = admin("chown", "--from", "project", "--to", "garden", ids[0])
    assert (code, out) == (FAILURE, "")
    assert f"Image {ids[0]} is lab's, not project's; nothing was changed." in err
    code, out, err = admin("chown", "--from", "porject", "--to", "lab")
    assert (code, facts(out)["images"]) == (OK, "0")
    assert err == "drystone: project 'porject' has nothing to give: is that its name?\n"
    assert admin("chown", "--from", "lab", "--to", "lab")[0] == FAILURE
    assert admin("chown", "--from", "lab")[0] == USAGE
