"""/metrics: what is counted, who may read it, and that the page's table has every figure."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from catalog.model.caller import Caller
from catalog.model.location import Location
from catalog.store_ports import StoreInfo
from catalog.stores.opaque import OpaqueStore
from catalog.stores.set import StoreSet
from catalog.usecases import image_data, tasks
from httpapi.handlers.probes import ProbeHandlers
from httpapi.health import Health
from httpapi.metrics import scrape
from httpapi.metrics.place import Place
from httpapi.metrics.sampling import look_at_stores, sample, weigh
from httpapi.metrics.scrape import Scrape
from httpapi.metrics.uploads import uploaded
from tests.kit.image_service import CALLER, image_service, pieces
from tests.kit.memory_store import MemoryStore
from tests.kit.pieces_source import PiecesSource
from tests.kit.running_server import ADMIN, RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.ports import Written
    from catalog.usecases.services import Services

PAGE = (Path(__file__).parents[3] / "httpapi" / "README.md").read_text(encoding="utf-8")
MEMBER = Caller("ann", "default", frozenset({"member"}))
OCTETS = {"Content-Type": "application/octet-stream"}


@contextlib.contextmanager
def serving(
    services: Services, *, metrics: str = "admin", caller: Caller = ADMIN, data: Path | None = None
) -> Iterator[RunningServer]:
    probes = ProbeHandlers(Health(services), Scrape(services, data=data), metrics)
    with RunningServer(services, probes=probes, caller=caller) as running:
        yield running


def figures(server: RunningServer) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = server.call("GET", "/metrics")
    assert answer.status == 200, answer.body
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


class Counting:
    """What a figure grew by since the last look."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._before = figures(server)

    def look(self) -> None:
        self._after = figures(self._server)

    def grown(self, name: str, **labels: str) -> float:
        key = name, frozenset(labels.items())
        return self._after[key] - self._before.get(key, 0)


def test_requests_are_counted_by_method_template_and_status(server: RunningServer) -> None:
    counting = Counting(server)
    image = server.new_image()
    for _ in range(3):
        server.call("GET", f"/v2.0/images/{image}")
    server.call("GET", "/v2/images/nobody")
    server.call("GET", "/v2/nowhere/at/all")
    server.call("GET", "/v3/images")
    server.call("PATCHY", "/v2/images")
    server.call("PUT", f"/v2/images/{image}/file", b"x" * 70_000, OCTETS)
    server.call("GET", f"/v2/images/{image}/file", headers={"Range": "bytes=10-19"})
    server.call("GET", f"/v2/images/{image}/file", headers={"Range": "bytes=90000-"})
    counting.look()
    requests = "drystone_requests_total"
    assert counting.grown(requests, method="POST", route="/v2/images", status="201") == 1
    assert counting.grown(requests, method="GET", route="/v2/images/{image_id}", status="200") == 3
    assert counting.grown(requests, method="GET", route="/v2/images/{image_id}", status="404") == 1
    assert counting.grown(requests, method="GET", route="other", status="404") == 1
    assert counting.grown(requests, method="GET", route="/v2/images/{image_id}/file", status="206") == 1
    assert counting.grown("drystone_request_seconds_count", method="GET", route="/v2/images/{image_id}") == 4
    assert counting.grown("drystone_worker_requests_total", worker="1") >= 9
    # The text of an error is no image data, nor is another body.
    assert counting.grown("drystone_image_received_bytes_total") == 70_000
    assert counting.grown("drystone_image_sent_bytes_total") == 10
    assert not [name for name, labels in figures(server) if image in str(labels)]


def test_a_transfer_is_counted_while_it_runs(server: RunningServer) -> None:
    image = server.new_image()
    counting = Counting(server)
    with server.connect() as upload:
        head = f"PUT /v2/images/{image}/file HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n"
        upload.sendall(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + b"x" * 1000)
        counting.look()
        while counting.grown("drystone_image_received_bytes_total") < 1000:
            counting.look()
        assert figures(server)["drystone_requests_in_flight", frozenset()] == 1
        upload.sendall(b"x" * 1000)
        assert upload.recv(65536).startswith(b"HTTP/1.1 204")
    counting.look()
    assert counting.grown("drystone_image_received_bytes_total") == 2000


def test_uploads_are_counted_by_what_they_were_made_of(tmp_path: Path) -> None:
    new, held, hole = b"n" * 4096, b"h" * 4096, bytes(4096)
    with image_service(tmp_path / "data") as service:

        async def scenario() -> None:
            await service.put(await service.new(), held)
            told: list[Written] = []
            counted = replace(service.services, on_upload=told.append)
            data = new + held + hole + hole + b"n"
            image = await service.new()
            await image_data.upload(counted, CALLER, image, PiecesSource(pieces(data, 5000)), expected=len(data))
            [written] = told
            assert (written.new_blocks, written.held_blocks, written.hole_blocks) == (2, 1, 2)
            assert (written.fresh_bytes, written.hole_bytes, written.size) == (4097, 8192, len(data))
            uploaded(written)

        with RunningServer(service.services) as server:
            counting = Counting(server)
            server.run(scenario())
            counting.look()
        grown = {kind: counting.grown("drystone_upload_bytes_total", kind=kind) for kind in ("new", "held", "hole")}
        assert grown == {"new": 4097, "held": 4096, "hole": 8192}
        assert counting.grown("drystone_upload_blocks_total", kind="new") == 2
        assert counting.grown("drystone_uploads_total") == 1
        assert 0 < counting.grown("drystone_upload_stored_bytes_total") < 4096


def test_a_store_tells_of_its_memory_and_its_generations(tmp_path: Path) -> None:
    with image_service(tmp_path / "data") as service, RunningServer(service.services) as server:
        counting = Counting(server)

        async def scenario() -> None:
            await service.put(await service.new(), b"some bytes")
            sample(service.store.figures())

        server.run(scenario())
        counting.look()
        assert counting.grown("drystone_generation_close_seconds_count") >= 1
        now = figures(server)
        budgets = [now["drystone_slab_budget_bytes", frozenset({("use", use)})] for use in ("uploads", "downloads")]
        assert sum(budgets) == 4 << 20
        count, size = weigh(tmp_path / "data" / "packs")
        assert count == 1
        assert size > 100


def test_whether_a_store_can_be_used_is_told_of_those_that_are_read(services: Services) -> None:
    stores = StoreSet([MemoryStore("fast-disk"), MemoryStore("far"), OpaqueStore(StoreInfo("ceph", "opaque"), ["rbd"])])
    fast = Location("memory://fast-disk/a", "fast-disk")

    def told(server: RunningServer) -> dict[str, float]:
        look_at_stores(stores)
        names = ("blocks", "ceph", "fast-disk", "far")
        up = {name: figures(server).get(("drystone_store_up", frozenset({("store", name)}))) for name in names}
        return {name: value for name, value in up.items() if value is not None}

    with serving(services) as server:
        assert told(server) == {"fast-disk": 1, "far": 1}
        stores.failed(fast)
        assert told(server) == {"fast-disk": 0, "far": 1}
        stores.worked(fast)
        assert told(server) == {"fast-disk": 1, "far": 1}


def test_the_pages_table_has_every_figure_with_its_type_and_labels(services: Services, tmp_path: Path) -> None:
    section = PAGE.split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| ([a-z, ]*)\|", section, re.MULTILINE)
    documented = {
        name: (kind, frozenset(filter(None, labels.replace(" ", "").split(",")))) for name, kind, labels in rows
    }
    (tmp_path / "data").mkdir()
    with serving(services, data=tmp_path / "data") as server:
        sample_everything(server, tmp_path)
        text = server.call("GET", "/metrics").body.decode()
    told = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert told == {name: kind for name, (kind, _) in documented.items()}
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            name = each.name if each.name in documented else family.name
            assert set(each.labels) - {"le"} == documented[name][1], each
    helps = re.findall(r"^# HELP \S+ \S", text, re.MULTILINE)
    assert len(helps) == len(told)


def sample_everything(server: RunningServer, tmp_path: Path) -> None:
    server.call("GET", "/healthcheck")
    with image_service(tmp_path / "other") as service:
        sample(service.store.figures())


@pytest.mark.parametrize(
    ("metrics", "caller", "status"),
    [
        ("admin", ADMIN, 200),
        ("admin", MEMBER, 403),
        ("open", MEMBER, 200),
        ("open", ADMIN, 200),
        ("off", ADMIN, 404),
    ],
)
def test_the_setting_says_who_may_read_them(services: Services, metrics: str, caller: Caller, status: int) -> None:
    with serving(services, metrics=metrics, caller=caller) as server:
        answer = server.call("GET", "/metrics")
        assert answer.status == status
        if status == 403:
            assert answer.code == "forbidden"
            assert "administrators" in answer.json["message"]


def test_openmetrics_is_told_to_whoever_asks_for_it(server: RunningServer) -> None:
    plain = server.call("GET", "/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    answer = server.call("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")


def test_a_scrape_without_the_catalog_tells_the_rest(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_services: Services) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(scrape, "PATIENCE", 0.05)
    monkeypatch.setattr(tasks, "counts", never)
    body, _ = asyncio.run(Scrape(services, Place()).text(""))
    assert b"drystone_requests_total" in body
    assert b"drystone_tasks" not in body
