from __future__ import annotations

import io
import json
import os
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from httpapi.cli.output import human_size, printable
from httpapi.cli.pull import file_name_for
from httpapi.cli.root import run
from httpapi.cli.verb import interrupted_by_sigterm
from httpapi.wire.images import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kit.small_server import SmallServer

    Drystone = Callable[..., tuple[int, str, str]]

ONE = "abcdef01-2345-4678-9abc-def012345678"
TWO = "abcdef02-2399-4678-9abc-def012345678"


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
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_ls_prints_tab_separated_lines_newest_first(small: SmallServer, drystone: Drystone) -> None:
    small.add("old", id=ONE)
    small.add("new\tname", None, id=TWO)
    assert drystone("ls") == (
        0,
        f"{TWO}\tnew\\tname\tqueued\t\t2026-11-22T00:00:02Z\n{ONE}\told\tactive\t10\t2026-11-22T00:00:01Z\n",
        "",
    )


def test_ls_narrows_by_name_and_tags_and_widens_by_all(small: SmallServer, drystone: Drystone) -> None:
    small.add("disk", tags=["a", "b"], id=ONE)
    small.add("disk", tags=["a"])
    small.add("other", tags=["a", "b"])
    small.add("hidden", os_hidden=True, id=TWO)
    assert drystone("ls", "disk", "--tag", "a", "--tag", "b", "--quiet")[1] == f"{ONE}\n"
    assert TWO not in drystone("ls")[1]
    assert drystone("ls", "--all", "-q")[1].splitlines()[0] == TWO


@pytest.mark.parametrize("arguments", [("ls", "--json"), ("--json", "ls")])
def test_common_options_stand_before_or_after_the_verb(
    small: SmallServer, drystone: Drystone, arguments: tuple[str, ...]
) -> None:
    small.add("disk", id=ONE, os_distro="debian")
    (image,) = json.loads(drystone(*arguments)[1])
    assert (image["id"], image["name"], image["size"], image["os_distro"]) == (ONE, "disk", 10, "debian")


def test_an_empty_list_is_empty_and_no_error(drystone: Drystone) -> None:
    assert drystone("ls") == (0, "", "")
    assert drystone("ls", "--json") == (0, "[]\n", "")


def test_show_prints_every_attribute(small: SmallServer, drystone: Drystone) -> None:
    small.add("disk", id=ONE, tags=["b", "a"], os_distro="debian")
    code, out, _ = drystone("show", "disk")
    lines = dict(line.split("\t") for line in out.splitlines())
    assert code == 0
    assert (lines["id"], lines["os_distro"], lines["tags"], lines["protected"]) == (ONE, "debian", "b, a", "false")
    assert json.loads(drystone("show", "abcdef", "--json")[1])["id"] == ONE


def test_an_ambiguous_image_is_exit_2_with_the_candidates(small: SmallServer, drystone: Drystone) -> None:
    small.add("disk", id=ONE)
    small.add("disk", id="abcdef09-2399-4678-9abc-def012345678")
    code, out, err = drystone("show", "abcdef0")
    assert (code, out) == (2, "")
    assert "may mean any of 2 images" in err.splitlines()[0]
    assert ONE in err


def test_an_unknown_image_is_exit_1_with_what_to_do(drystone: Drystone) -> None:
    code, out, err = drystone("show", "nothing")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("drystone: no image has the id, id prefix or name 'nothing': `drystone ls`")


def test_a_server_that_is_not_there_is_exit_1_with_what_to_do(drystone: Drystone) -> None:
    code, _, err = drystone("ls", "--endpoint", "http://127.0.0.1:1")
    assert (code, err.count("\n")) == (1, 1)
    assert "start it with `drystone serve`" in err


def test_rm_deletes_what_it_finds_and_prints_the_ids(small: SmallServer, drystone: Drystone) -> None:
    small.add("disk", id=ONE)
    small.add("other", id=TWO)
    assert drystone("rm", "disk", ONE, "other") == (0, f"{ONE}\n{TWO}\n", "")
    assert small.images == {}


def test_rm_deletes_nothing_unless_all_are_found(small: SmallServer, drystone: Drystone) -> None:
    small.add("disk")
    assert drystone("rm", "disk", "nothing")[0] == 1
    assert drystone("rm")[0] == 2
    small.add("disk")
    assert drystone("rm", "disk")[0] == 2
    assert len(small.images) == 2


def test_rm_of_a_protected_image_passes_the_servers_reason_on(small: SmallServer, drystone: Drystone) -> None:
    small.add("disk", id=ONE)
    small.add("safe", protected=True)
    code, out, err = drystone("rm", "--json", "disk", "safe")
    assert (code, json.loads(out)) == (1, [{"id": ONE}])
    assert "is protected and cannot be deleted (HTTP 403, request req-7)" in err


def test_push_prints_the_id_and_guesses_name_and_format(small: SmallServer, drystone: Drystone, here: Path) -> None:
    Path("debian-12.qcow2").write_bytes(b"0123456789")
    code, out, err = drystone("push", "debian-12.qcow2")
    (image,) = small.images.values()
    assert (code, out, err) == (0, f"{image['id']}\n", "")
    assert (image["name"], image["disk_format"], image["container_format"]) == ("debian-12", "qcow2", "bare")
    assert small.data[image["id"]] == b"0123456789"


def test_push_takes_every_attribute(small: SmallServer, drystone: Drystone, here: Path) -> None:
    Path("disk").write_bytes(b"0123456789")
    options = "--name n --disk-format vdi --container-format ovf --property a=b=c --property e= --tag t --tag u"
    more = f"--cutting fixed:128KiB --visibility private --hidden --protected --min-disk 0 --min-ram 512 --id {ONE}"
    assert drystone("push", "disk", *options.split(), *more.split())[0] == 0
    expected = {
        "name": "n",
        "disk_format": "vdi",
        "container_format": "ovf",
        "a": "b=c",
        "e": "",
        "drystone_cutting": "fixed:128KiB",
        "tags": ["t", "u"],
        "visibility": "private",
        "os_hidden": True,
        "protected": True,
        "min_disk": 0,
        "min_ram": 512,
        "id": ONE,
    }
    assert expected.items() <= small.images[ONE].items()


def test_push_reports_its_result_as_json(small: SmallServer, drystone: Drystone, here: Path) -> None:
    Path("disk.raw").write_bytes(b"0123456789")
    result = json.loads(drystone("push", "disk.raw", "--json")[1])
    (image,) = small.images.values()
    assert result["id"] == image["id"]
    assert result["os_hash_value"] == image["os_hash_value"]
    assert (result["name"], result["size"], result["verified"]) == ("disk", 10, True)
    assert result["seconds"] >= 0


def test_push_reads_standard_input(small: SmallServer, drystone: Drystone) -> None:
    saved = os.dup(0)
    read_end, write_end = os.pipe()
    try:
        os.dup2(read_end, 0)
        os.write(write_end, b"0123456789")
        os.close(write_end)
        assert drystone("push", "-", "--name", "disk", "--size", "10")[0] == 0
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(read_end)
    assert list(small.data.values()) == [b"0123456789"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("push", "-"), "give the image one with --name"),
        (("push", "disk", "--property", "novalue"), "is not KEY=VALUE"),
        (("push", "disk", "--property", "name=x"), "is an attribute of every image"),
        (("push", "disk", "--min-disk", "-1"), "--min-disk"),
        (("push", "disk", "--cutting", "rolling"), "choose fixed, content-defined, or either with a power of two"),
        (("push", "disk", "--cutting", "fixed", "--property", "drystone_cutting=fixed"), "give one of them"),
        (("push",), "Missing argument 'FILE'"),
        (("lss",), "No such command 'lss'"),
        (("ls", "--nonsense"), "--nonsense"),
    ],
)
def test_wrong_usage_is_exit_2_with_a_pointer_to_help(
    drystone: Drystone, arguments: tuple[str, ...], reason: str
) -> None:
    code, out, err = drystone(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert reason in err
    assert "--help`" in err


def test_a_missing_file_is_exit_1(small: SmallServer, drystone: Drystone, here: Path) -> None:
    assert drystone("push", "none.raw") == (1, "", "drystone: cannot read none.raw: No such file or directory\n")
    assert small.images == {}


def test_a_mismatch_is_exit_1_and_the_image_is_gone(small: SmallServer, drystone: Drystone, here: Path) -> None:
    Path("disk").write_bytes(b"0123456789")
    small.faults.wrong_hash = True
    code, out, err = drystone("push", "disk")
    assert (code, out) == (1, "")
    assert "sha512 differs" in err
    assert small.images == {}


def test_pull_names_the_file_after_the_image(small: SmallServer, drystone: Drystone, here: Path) -> None:
    small.add("debian", b"0123456789", disk_format="qcow2")
    assert drystone("pull", "debian") == (0, "debian.qcow2\n", "")
    assert Path("debian.qcow2").read_bytes() == b"0123456789"
    assert not Path("debian.qcow2").stat().st_mode & stat.S_IXUSR


def test_pull_refuses_an_existing_file_without_force(small: SmallServer, drystone: Drystone, here: Path) -> None:
    small.add("debian", b"0123456789")
    Path("copy").write_bytes(b"precious")
    code, out, err = drystone("pull", "debian", "copy")
    assert (code, out) == (1, "")
    assert "copy exists" in err
    assert Path("copy").read_bytes() == b"precious"
    assert drystone("pull", "debian", "copy", "--force")[0] == 0
    assert Path("copy").read_bytes() == b"0123456789"


def test_pull_to_standard_output_prints_nothing_else_there(small: SmallServer, drystone: Drystone) -> None:
    small.add("debian", b"0123456789")
    assert drystone("pull", "debian", "-") == (0, "0123456789", "")
    code, out, err = drystone("pull", "debian", "-", "--json")
    assert (code, out) == (0, "0123456789")
    assert json.loads(err)["size"] == 10


def test_pull_reports_its_result_as_json(small: SmallServer, drystone: Drystone, here: Path) -> None:
    image_id = small.add("debian", b"0123456789")
    result = json.loads(drystone("--json", "pull", "debian", "copy")[1])
    assert (result["id"], result["name"], result["file"], result["size"]) == (image_id, "debian", "copy", 10)
    assert result["verified"] is True


def test_a_failed_pull_leaves_no_file(small: SmallServer, drystone: Drystone, here: Path) -> None:
    small.add("debian", b"0123456789")
    small.faults.wrong_bytes = True
    code, out, err = drystone("pull", "debian", "copy")
    assert (code, out, list(here.iterdir())) == (1, "", [])
    assert err.splitlines()[0].startswith("drystone: the incomplete ")
    assert "are not those of image" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "disk_format", "file"),
    [
        ("debian", "raw", "debian.raw"),
        ("debian.raw", "raw", "debian.raw"),
        ("../../etc/passwd", "iso", "_.._etc_passwd.iso"),
        (".bashrc", "raw", "bashrc.raw"),
        ("-rf", "raw", "rf.raw"),
        ("a\nb\x1b[1m", "raw", "a_b_[1m.raw"),
        (None, None, f"{ONE}.raw"),
        ("...", "../x", f"{ONE}.raw"),
        (None, "bashrc", f"{ONE}.raw"),
        (" .profile", "raw", "profile.raw"),
        (". -rf . ", "raw", "rf ..raw"),
        ("\u2028 \ud800", "raw", "_ _.raw"),
        ("disk", "so", "disk.raw"),
        ("ü" * 255, "raw", "ü" * 100 + ".raw"),
    ],
)
def test_a_files_name_made_from_an_images_is_never_a_path(name: str | None, disk_format: str | None, file: str) -> None:
    image = ImageRecord(
        id=ONE,
        status="active",
        visibility="shared",
        created_at="",
        updated_at="",
        name=name,
        disk_format=disk_format,
    )
    assert file_name_for(image) == file


def test_a_hostile_record_writes_nothing_elsewhere(small: SmallServer, drystone: Drystone, here: Path) -> None:
    (here / "inner").mkdir()
    os.chdir(here / "inner")
    small.add(None, id=ONE)
    small.images[ONE] |= {"id": "../", "disk_format": "bashrc"}
    code, _, err = drystone("pull", ONE)
    assert (code, err) == (
        1,
        "drystone: the answer is no image record (its id '../' is no UUID): check --endpoint\n",
    )
    assert [each.name for each in here.rglob("*")] == ["inner"]
    bare = ImageRecord(id="../", status="", visibility="", created_at="", updated_at="", disk_format="bashrc")
    assert file_name_for(bare) == "_.raw"


def test_a_name_with_a_colon_is_reached_by_every_verb(small: SmallServer, drystone: Drystone, here: Path) -> None:
    small.add("debian:12", b"0123456789", id=ONE)
    assert drystone("ls", "debian:12", "-q")[1] == f"{ONE}\n"
    assert drystone("show", "debian:12", "-q")[1] == f"{ONE}\n"
    assert drystone("pull", "debian:12")[:2] == (0, "debian:12.raw\n")
    assert drystone("rm", "debian:12")[:2] == (0, f"{ONE}\n")


def test_a_servers_message_cannot_command_the_terminal(small: SmallServer, drystone: Drystone, here: Path) -> None:
    small.add("disk", id=ONE)
    small.images[ONE]["protected"] = True
    small.faults.forbidden = "no\x1b]0;owned\x07\u202e\x9b2J"
    err = drystone("rm", ONE)[2]
    assert err == "drystone: no\\x1b]0;owned\\x07\\u202e\\x9b2J (HTTP 403, request req-7)\n"
    Path("disk").write_bytes(b"0123456789")
    small.faults.refuse_upload = 413
    err = drystone("push", "disk", "--protected", "--parent", "none")[2]
    assert len(err.splitlines()) == 2
    assert all(each.isprintable() for each in err.replace("\n", ""))


def test_a_file_whose_name_is_no_utf8_wants_a_name_for_its_image(
    small: SmallServer, drystone: Drystone, here: Path
) -> None:
    odd = os.fsdecode(b"d\xe9j\xe0.raw")
    Path(odd).write_bytes(b"0123456789")
    code, _, err = drystone("push", odd)
    assert code == 2
    assert "is not valid UTF-8: give the image one with --name" in err
    assert small.asked == []
    assert drystone("push", odd, "--name", "disk")[0] == 0
    assert json.loads(drystone("pull", "disk", odd, "--force", "--json")[1])["file"] == odd


def test_a_file_of_any_name_is_printed_as_it_is(
    small: SmallServer, here: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRYSTONE_ENDPOINT", small.url)
    small.add("disk")
    assert run(["pull", "disk", os.fsdecode(b"d\xe9j\xe0.raw")]) == 0
    assert capfdbinary.readouterr().out == b"d\xe9j\xe0.raw\n"


@pytest.mark.parametrize(
    "arguments",
    [("ls", "\udce9"), ("show", "\udce9"), ("push", "x", "--tag", "\udce9")],
)
def test_text_that_is_no_utf8_is_wrong_usage(
    small: SmallServer, drystone: Drystone, arguments: tuple[str, ...]
) -> None:
    code, _, err = drystone(*arguments)
    assert code == 2
    assert "is not valid UTF-8" in err
    assert small.asked == []


def test_sources_and_targets_without_a_sensible_name_are_said_so(
    small: SmallServer, drystone: Drystone, here: Path
) -> None:
    small.add("base")
    assert drystone("pull", "base", "") == (
        1,
        "",
        "drystone: an empty text names no file: name one, or leave it out\n",
    )
    code, _, err = drystone("push", "/proc/cpuinfo")
    assert code == 1
    assert err.startswith("drystone: cannot read /proc/cpuinfo: it has no size")


def test_text_from_a_server_cannot_command_the_terminal() -> None:
    assert printable("a\x1b[2J\nb\u202e") == "a\\x1b[2J\\nb\\u202e"
    assert printable(None) == ""
    assert printable(["x", True]) == "x, true"


def test_sizes_for_people() -> None:
    sizes = (0, 999, 1000, 1 << 20, 1_850_000_000, 5 << 40, 5 << 50)
    assert [human_size(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1.0 KiB",
        "1.0 MiB",
        "1.7 GiB",
        "5.0 TiB",
        "5120.0 TiB",
    ]


def test_standard_output_that_nobody_reads_ends_in_silence(small: SmallServer, drystone: Drystone) -> None:
    small.add("disk")

    class Closed(io.TextIOWrapper):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    saved = os.dup(1)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", Closed(io.BytesIO()))
            code = run(["ls"])
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert code == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_verb_without_a_loop_is_interrupted_by_signals_too(number: signal.Signals) -> None:
    earlier = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupted_by_sigterm():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    signal.signal(signal.SIGHUP, earlier)
