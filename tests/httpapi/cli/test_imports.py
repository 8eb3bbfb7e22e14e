"""`drystone import`, `copy`, `locations`, `rm --from`, `deactivate` and `reactivate`, against a running server."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.jobs.worker import Worker
from catalog.model.importing import Method
from catalog.model.lane import Places
from httpapi.cli.root import run
from tests.kit.memory_store import MemoryStore
from tests.kit.quiet_worker import QUICK
from tests.kit.running_server import RunningServer
from tests.kit.several_stores import with_stores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.usecases.services import Services
    from tests.httpapi.cli.conftest import Drystone
    from tests.kit.small_server import SmallServer

DATA = bytes(range(256)) * 5000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "debian.qcow2.raw"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def worker(server: RunningServer) -> Iterator[None]:
    """Works on the server's jobs, on its loop."""
    with at_work(server):
        yield


@contextmanager
def at_work(server: RunningServer) -> Iterator[None]:
    working = Worker(server.services, at_once=Places(1, 1), pace=QUICK)

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(working.run(grace=0))

    async def stop() -> None:
        working.stop()
        with suppress(asyncio.CancelledError):
            await running

    running = server.run(start())
    try:
        yield
    finally:
        server.run(stop())


def filled(server: RunningServer) -> str:
    """An active image."""
    image = server.new_image()
    octets = {"Content-Type": "application/octet-stream"}
    assert server.call("PUT", f"/v2/images/{image}/file", DATA, octets).status == 204
    return image


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("httpapi.client.imports.follow.__defaults__", (0.02,))


@pytest.mark.usefixtures("worker")
def test_a_file_is_staged_and_imported_as_a_new_image(server: RunningServer, drystone: Drystone, file: Path) -> None:
    code, out, err = drystone("import", str(file), "--tag", "new", "--property", "os_distro=debian")
    assert (code, err) == (0, "")
    image = server.call("GET", f"/v2/images/{out.strip()}").json
    assert (image["name"], image["status"], image["size"]) == ("debian.qcow2", "active", len(DATA))
    assert (image["tags"], image["os_distro"], image["disk_format"]) == (["new"], "debian", "raw")
    assert server.call("GET", f"/v2/images/{image['id']}/file").body == DATA
    code, out, _ = drystone("import", str(file), "--name", "again", "--json")
    assert (code, json.loads(out)["status"]) == (0, "active")


@pytest.mark.usefixtures("worker")
def test_a_file_is_imported_into_an_image_that_is_there_and_queued(
    server: RunningServer, drystone: Drystone, file: Path
) -> None:
    image = server.new_image(name="waits")
    assert drystone("import", "waits", str(file)) == (0, f"{image}\n", "")
    code, _, err = drystone("import", image, str(file))
    assert code == 1
    assert image in err
    assert server.call("GET", f"/v2/images/{image}").json["status"] == "active"


def test_an_import_that_is_not_waited_for_tells_its_task(server: RunningServer, drystone: Drystone, file: Path) -> None:
    code, out, _ = drystone("import", str(file), "--no-wait", "--json")
    task = json.loads(out)
    assert (code, task["type"], task["status"]) == (0, "api_image_import", "pending")
    assert server.call("GET", f"/v2/images/{task['image_id']}").json["status"] == "importing"
    code, out, _ = drystone("import", str(file), "--name", "other", "--no-wait")
    assert (code, server.call("GET", f"/v2/images/{out.strip()}").json["name"]) == (0, "other")


def test_an_import_that_does_not_begin_leaves_no_image(
    services: Services, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with RunningServer(replace(services, import_methods=())) as server:
        endpoint = f"http://127.0.0.1:{server.port}"
        assert run(["--endpoint", endpoint, "import", str(file)]) == 1
        assert capfd.readouterr().err.startswith("drystone: ")
        assert server.call("GET", "/v2/images").json["images"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--uri that the service fetches, or a FILE"),
        (["a", "b", "--uri", "http://x/"], "--uri stands for a FILE"),
        (["a", "b", "c"], "--uri stands for a FILE"),
        (["a", "--store", "x", "--all-stores"], "give one of them"),
        (["a", "--store", "x", "--allow-failure"], "for several stores"),
        (["--uri", "http://x/"], "--name"),
        (["a", "--property", "x"], "KEY=VALUE"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_made(drystone: Drystone, words: list[str], said: str) -> None:
    code, out, err = drystone("import", *words)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--to STORE"),
        (["--to", "x", "--all-stores"], "--to STORE"),
        (["--to", "x", "--allow-failure"], "for several stores"),
    ],
)
def test_a_copy_says_where_to(drystone: Drystone, words: list[str], said: str) -> None:
    code, _, err = drystone("copy", "debian", *words)
    assert code == 2
    assert said in err


def test_a_copy_to_a_store_that_there_is_not_is_refused(server: RunningServer, drystone: Drystone) -> None:
    image = filled(server)
    code, _, err = drystone("copy", image, "--to", "nowhere")
    assert code == 1
    assert err.startswith("drystone: ")


def test_an_image_is_deactivated_and_reactivated(server: RunningServer, drystone: Drystone) -> None:
    image, other = filled(server), filled(server)
    assert drystone("deactivate", image[:12], other) == (0, f"{image}\n{other}\n", "")
    assert server.call("GET", f"/v2/images/{image}").json["status"] == "deactivated"
    assert json.loads(drystone("reactivate", image, "--json")[1]) == [{"id": image}]
    assert server.call("GET", f"/v2/images/{image}").json["status"] == "active"
    code, out, err = drystone("deactivate", image, "none-such")
    assert (code, out) == (1, "")
    assert "none-such" in err


def test_a_service_with_one_store_tells_no_places(server: RunningServer, drystone: Drystone) -> None:
    image = filled(server)
    code, out, _ = drystone("locations", image, "--json")
    assert (code, [place for place in json.loads(out) if place["store"] not in {None, "blocks"}]) == (0, [])


def test_places_are_those_of_the_record_or_else_the_names_of_its_stores(
    small: SmallServer, capfd: pytest.CaptureFixture[str]
) -> None:
    image = small.add("disk", stores="fast,deep")
    assert run(["--endpoint", small.url, "locations", "disk"]) == 0
    assert capfd.readouterr().out == "fast\t\ndeep\t\n"
    where = [{"url": "file:///mnt/fast/a", "metadata": {"store": "fast"}}, {"url": "rbd://a", "metadata": {}}]
    small.images[image]["locations"] = where
    assert run(["--endpoint", small.url, "locations", "disk"]) == 0
    assert capfd.readouterr().out == "fast\tfile:///mnt/fast/a\n\trbd://a\n"


def test_an_image_is_copied_into_further_stores_and_taken_out_of_one_again(
    services: Services, capfd: pytest.CaptureFixture[str]
) -> None:
    both = with_stores(services, MemoryStore("fast", weight=100), MemoryStore("deep", weight=50))
    both = replace(both, import_methods=tuple(Method))

    with RunningServer(both) as server, at_work(server):

        def drystone(*words: str) -> tuple[int, str, str]:
            code = run(["--endpoint", f"http://127.0.0.1:{server.port}", *words])
            return code, *capfd.readouterr()

        def stores() -> list[str]:
            code, out, _ = drystone("locations", image, "--quiet")
            assert code == 0
            return out.split()

        image = filled(server)
        assert stores() == ["blocks"]
        assert drystone("copy", image, "--to", "fast", "--to", "deep") == (0, f"{image}\n", "")
        assert stores() == ["fast", "deep", "blocks"]
        assert drystone("rm", image, "--from", "fast") == (0, f"{image}\n", "")
        assert stores() == ["deep", "blocks"]
        code, out, err = drystone("copy", image, "--to", "nowhere")
        assert (code, out) == (1, "")
        assert "nowhere" in err
        assert drystone("rm", image, "--from", "deep")[0] == 0
        code, _, err = drystone("rm", image, "--from", "blocks")
        assert code == 1
        assert err.startswith("drystone: ")
        assert stores() == ["blocks"]
        assert server.call("GET", f"/v2/images/{image}/file").body == DATA


def test_what_the_service_may_not_fetch_is_refused_and_leaves_no_image(
    services: Services, capfd: pytest.CaptureFixture[str]
) -> None:
    with RunningServer(replace(services, import_methods=tuple(Method))) as server:
        endpoint = f"http://127.0.0.1:{server.port}"
        assert run(["--endpoint", endpoint, "import", "--uri", "http://127.0.0.1/disk.raw"]) == 1
        assert "127.0.0.1" in capfd.readouterr().err
        assert server.call("GET", "/v2/images").json["images"] == []
