"""What a program in the cage can do, and that nothing of it is left, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catalog.conversion import walls
from catalog.conversion.cage import Cage, CageLimits, Ended
from catalog.conversion.rooms import lend, new_file
from catalog.conversion.walls import Bounds, Guest, Walls, walls_of
from catalog.model.errors import ConversionFailed, ConversionUnavailable, StoreFull
from tests.kit.caged_processes import gone_from, working_in

ROOT = Path(__file__).parents[3]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only a service that is root has a user for its cage")


def cage(**limits: object) -> Cage:
    return Cage(CageLimits(**{"reserve": 0, **limits}))  # type: ignore[arg-type]


def run(room: Path, script: str, *, file_size: int = 0, **limits: object) -> Ended:
    return asyncio.run(cage(**limits).run(["sh", "-c", script], room, file_size=file_size))


def test_a_program_is_heard_to_its_end(tmp_path: Path) -> None:
    heard: list[bytes] = []
    ended = asyncio.run(cage().run(["sh", "-c", "pwd; echo wrong >&2; exit 3"], tmp_path, heard=heard.append))
    assert ended == Ended(3, None, f"{tmp_path}\n".encode(), b"wrong\n")
    assert b"".join(heard) == ended.out


def test_what_ended_it_is_told(tmp_path: Path) -> None:
    assert run(tmp_path, "kill -SEGV $$").by is signal.SIGSEGV
    assert run(tmp_path, "exit 200") == Ended(200, None, b"", b"")


def test_it_knows_nothing_of_the_services_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYSTONE_KEYSTONE_PASSWORD", "secret")
    names = {line.partition(b"=")[0] for line in run(tmp_path, "env").out.splitlines()}
    assert names <= {b"PATH", b"LC_ALL", b"MALLOC_ARENA_MAX", b"PWD"}


def test_it_has_no_file_of_the_services_open(tmp_path: Path) -> None:
    with (tmp_path / "mine").open("wb") as mine:
        os.set_inheritable(mine.fileno(), True)
        found = run(tmp_path, "readlink /proc/self/fd/*").out
    assert str(tmp_path).encode() not in found


def test_it_sees_no_network_and_can_reach_no_other_process(tmp_path: Path) -> None:
    # Not /sys/class/net: that is mounted, and shows the network that it was mounted in.
    ended = run(tmp_path, "cat /proc/net/dev; kill -9 -1; exit 0")
    assert [line.split(b":")[0].strip() for line in ended.out.splitlines()[2:]] == [b"lo"]


def test_it_cannot_reach_the_room_of_another_cage_by_the_processes_there(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for each in (one, other):
        each.mkdir(mode=0o700)
    (one / "came").write_bytes(b"a secret")

    async def scene() -> bytes:
        caged = cage()
        lend(one, "came", caged.walls().guest)
        lend(other, "probe", caged.walls().guest)
        sleeping = asyncio.create_task(caged.run(["sleep", "60"], one))
        await asyncio.to_thread(_wait_for_work, one)
        found = await caged.run(["sh", "-c", "cat /proc/[0-9]*/cwd/came; ls -d /proc/[0-9]*; exit 0"], other)
        sleeping.cancel()
        await asyncio.gather(sleeping, return_exceptions=True)
        return found.out

    (other / "probe").write_bytes(b"")
    told = asyncio.run(scene())
    assert b"secret" not in told
    # sh, which tells of the end, and the two that it runs.
    assert len(told.splitlines()) <= 4


def _wait_for_work(room: Path) -> None:
    while not any(_is_asleep(process) for process in working_in(room)):
        time.sleep(0.01)


def test_it_can_get_no_rights(tmp_path: Path) -> None:
    status = dict(line.split(b":\t", 1) for line in run(tmp_path, "cat /proc/self/status").out.splitlines())
    assert status[b"NoNewPrivs"] == b"1"
    assert {int(status[each], 16) for each in (b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb")} == {0}
    if os.geteuid() == 0:
        assert set(status[b"Uid"].split()) == {b"65534"}
        assert status[b"Groups"].strip() in {b"", b"65534"}


@AS_ROOT
def test_it_can_change_nothing_in_the_room_but_the_new_file(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"data")
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "other").chmod(0o600)
    tmp_path.chmod(0o700)
    guest = walls_of("nobody").guest
    lend(tmp_path, "source", guest)
    with new_file(tmp_path, "target", guest):
        ended = run(
            tmp_path,
            "cat source; echo new > target; cat other; echo x > source; rm -f source target; ln -s /etc/shadow link; "
            "mv target moved; echo x > made; chmod 666 source; ls; exit 0",
            file_size=1 << 20,
        )
    assert ended.out == b"data"
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {
        "source": b"data", "other": b"other", "target": b"new\n",
    }  # fmt: skip
    assert not (tmp_path / "target").is_symlink()
    assert (tmp_path / "target").stat().st_uid == 0


def test_a_new_file_goes_again_if_what_follows_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), new_file(tmp_path, "target", None):
        raise KeyError
    assert not [*tmp_path.iterdir()]


def test_a_link_is_not_lent(tmp_path: Path) -> None:
    (tmp_path / "source").symlink_to("/etc/shadow")
    with pytest.raises(ValueError, match="no file"):
        lend(tmp_path, "source", None)


def test_no_file_becomes_longer_than_it_may(tmp_path: Path) -> None:
    with new_file(tmp_path, "target", cage().walls().guest):
        ended = run(tmp_path, "exec head -c 100000 /dev/zero > target", file_size=70_000)
        assert ended.code
        assert (tmp_path / "target").stat().st_size == 70_000


def test_memory_has_a_bound(tmp_path: Path) -> None:
    ended = run(tmp_path, "dd if=/dev/zero of=/dev/null bs=300M count=1", memory=200 << 20)
    assert b"memory exhausted" in ended.err


def test_what_it_says_is_kept_to_a_bound_and_its_end_is_kept(tmp_path: Path) -> None:
    ended = run(tmp_path, "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo end; echo end >&2")
    assert len(ended.out) < 1 << 20 > len(ended.err)
    assert ended.out.endswith(b"end\n")
    assert ended.err.endswith(b"end\n")


def test_what_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    with pytest.raises(ConversionFailed, match="convert_seconds"):
        run(tmp_path, "setsid sleep 60 & sleep 60", seconds=0.3)
    assert not working_in(tmp_path)


def test_what_is_cancelled_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    async def scene() -> None:
        begun = asyncio.Event()
        script = "echo begun; trap '' TERM INT HUP; setsid sleep 60 & sleep 60; sleep 60"
        work = asyncio.create_task(cage().run(["sh", "-c", script], tmp_path, heard=lambda _: begun.set()))
        await begun.wait()
        assert working_in(tmp_path)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(scene())
    assert not working_in(tmp_path)


def test_what_is_left_running_ends_with_the_program(tmp_path: Path) -> None:
    begun = time.monotonic()
    assert run(tmp_path, "setsid sleep 60 & exit 0").code == 0
    assert time.monotonic() - begun < 10
    assert not working_in(tmp_path)


@pytest.mark.parametrize("alone", [True, False])
def test_when_the_service_is_killed_the_program_ends(tmp_path: Path, alone: bool) -> None:  # noqa: FBT001
    program = f"""
import asyncio
from pathlib import Path
from dataclasses import replace
from catalog.conversion.cage import Cage, CageLimits
cage = Cage(CageLimits(reserve=0))
cage._walls = replace(cage.walls(), alone={alone})
asyncio.run(cage.run(["sleep", "60"], Path({str(tmp_path)!r})))
"""
    service = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        until = time.monotonic() + 30
        while not any(_is_asleep(each) for each in working_in(tmp_path)):
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        service.kill()
        service.wait()
    assert gone_from(tmp_path)


def _is_asleep(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/comm").read_text(encoding="utf-8") == "sleep\n"
    except OSError:
        return False


def test_a_disk_that_runs_full_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tight = cage()
    looks = iter([None, None])

    def check(room: Path, needed: int) -> None:
        if next(looks, "full") == "full":
            raise StoreFull("no room")

    monkeypatch.setattr(tight, "check_space", check)
    with pytest.raises(StoreFull):
        asyncio.run(tight.run(["sleep", "60"], tmp_path))
    assert not working_in(tmp_path)


def test_a_disk_without_room_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(StoreFull, match="work_dir"):
        run(tmp_path, "exit 0", reserve=1 << 62)


def test_where_namespaces_are_not_allowed_the_rest_of_the_cage_holds_and_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(walls, "_NAMESPACES", ("--no-such-namespace",))
    weaker = cage()
    ended = asyncio.run(weaker.run(["sh", "-c", "kill -SEGV $$"], tmp_path))
    assert ended.by is signal.SIGSEGV
    assert "NOT cut off from the network" in weaker.walls().describe()
    assert caplog.text.count("unshare is not allowed here") == 1
    asyncio.run(weaker.run(["true"], tmp_path))
    assert caplog.text.count("unshare is not allowed here") == 1


@AS_ROOT
def test_where_proc_cannot_be_mounted_there_are_namespaces_all_the_same_and_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(walls, "_OWN_PROCESSES", "--no-such-mount")
    weaker = cage()
    ended = asyncio.run(weaker.run(["sh", "-c", "cat /proc/net/dev"], tmp_path))
    assert [line.split(b":")[0].strip() for line in ended.out.splitlines()[2:]] == [b"lo"]
    assert "other processes NOT out of its reach" in weaker.walls().describe()
    assert caplog.text.count("A /proc of its own is not allowed here") == 1


@AS_ROOT
@pytest.mark.parametrize(("user", "told"), [("nobody-at-all", "There is no user"), ("root", "is root")])
def test_a_service_that_is_root_needs_a_user_who_is_not(user: str, told: str) -> None:
    with pytest.raises(ConversionUnavailable, match=told):
        walls_of(user)


@AS_ROOT
def test_a_service_that_is_not_root_has_a_cage_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    found = subprocess.run(
        [
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
            *Walls(None, alone=True).around(["sh", "-c", "cat /proc/net/dev /proc/self/status"], Bounds(9, 1 << 30, 0)),
        ],
        cwd=tmp_path, capture_output=True, check=False, timeout=30,
    )  # fmt: skip
    assert found.stderr.endswith(b"ended with 0\n")
    assert b"CapBnd:\t0000000000000000" in found.stdout
    assert b"NoNewPrivs:\t1" in found.stdout
    assert b"eth" not in found.stdout


def test_who_enters_by_itself_keeps_what_that_takes_and_nothing_else() -> None:
    command = Walls(Guest("nobody", 65534, 65534), alone=True).around(["x"], Bounds(1, 1, 1), enters_itself=True)
    assert "--bounding-set=-all,+setuid,+setgid" in command
    assert not [each for each in command if each.startswith("--reuid")]
