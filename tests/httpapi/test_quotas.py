"""Quotas on the wire: what is refused before the body, what in the middle of it, and what is told of usage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.limits import Limits
from catalog.model.quota import UNLIMITED, Quota
from catalog.quota_ports import Said
from tests.httpapi.test_upload import OCTETS, await_status, head_of, is_queued_and_empty, put
from tests.kit.image_service import image_service
from tests.kit.running_server import ADMIN, RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.usecases.services import Services

MIB = 1 << 20


@pytest.fixture
def bounded(services: Services) -> Iterator[RunningServer]:
    """A server whose projects may have ten bytes."""
    file = Said(Quota(bytes=10))
    with RunningServer(replace(services, quotas=file, limits=Limits(reserve_step=4))) as running:
        yield running


def say(server: RunningServer, quota: Quota) -> None:
    server.run(server.services.database.write(lambda uow: uow.quotas.say(ADMIN.project, quota)))


def test_a_known_size_is_refused_before_a_byte_of_the_body(bounded: RunningServer) -> None:
    image_id = bounded.new_image()
    for lines in (
        ("Content-Length: 11",),
        ("Content-Length: 11", "Expect: 100-continue"),
        ("Transfer-Encoding: chunked", "x-openstack-image-size: 11"),
    ):
        answer = bounded.answer_before_body(head_of(image_id, *lines))
        assert answer.startswith(b"HTTP/1.1 413 "), answer
        assert b"x-drystone-error: quota-exceeded\r\n" in answer
        assert b"11 more were asked for: delete images first" in answer
        assert is_queued_and_empty(bounded, image_id)
    assert put(bounded, image_id, b"0123456789").status == 204


def test_an_unknown_size_stops_at_the_limit_and_the_image_takes_a_smaller_one(bounded: RunningServer) -> None:
    image_id = bounded.new_image()
    for body in ([b"0123456789a"], [b"0123", b"4567", b"89", b"a"], [b"x" * 100_000] * 20):
        answer = put(bounded, image_id, body)
        assert (answer.status, answer.code) == (413, "quota-exceeded")
        assert is_queued_and_empty(bounded, image_id)
    assert put(bounded, image_id, [b"0123", b"4567", b"89"]).status == 204
    answer = put(bounded, bounded.new_image(), [b"x"])
    assert answer.json["message"].startswith("Project 'default' uses 10 of the 10 bytes that its quota gives")
    assert bounded.call("DELETE", f"/v2/images/{image_id}").status == 204
    assert put(bounded, bounded.new_image(), [b"x"]).status == 204


def test_a_delta_upload_is_refused_when_it_begins(tmp_path: Path) -> None:
    with image_service(tmp_path / "data") as service:
        services = replace(service.services, quotas=Said(Quota(staged_bytes=8192)))
        with RunningServer(services) as server:
            image_id = server.new_image()
            path = f"/v2/images/{image_id}/deltas"
            answer = server.call("POST", path, json_body={"size": 8193, "block_size": 4096})
            assert (answer.status, answer.code) == (413, "quota-exceeded")
            assert server.status_of(image_id) == "queued"
            assert server.call("POST", path, json_body={"size": 8192, "block_size": 4096}).status == 201


def test_one_image_too_many_is_413_when_it_is_made(server: RunningServer) -> None:
    say(server, Quota(images=1))
    server.new_image()
    answer = server.call("POST", "/v2/images", json_body={})
    assert (answer.status, answer.code) == (413, "quota-exceeded")
    assert set(answer.json) == {"message", "code", "title"}


def test_usage_is_told_in_the_references_names_and_whole_mib(server: RunningServer) -> None:
    assert server.call("GET", "/v2/info/usage").json == {"usage": {}}
    say(server, Quota(images=3, bytes=5 * MIB + 1, uploads=UNLIMITED))
    assert put(server, server.new_image(), bytes(2 * MIB + 5)).status == 204
    coming = server.new_image()
    with server.connect() as upload:
        upload.sendall(head_of(coming, f"Content-Length: {MIB}") + b"x")
        await_status(server, coming, "saving")
        told = server.call("GET", "/v2.13/info/usage").json
    assert told == {
        "usage": {
            "image_size_total": {"usage": 3, "limit": 5},
            "image_stage_total": {"usage": 1, "limit": -1},
            "image_count_total": {"usage": 2, "limit": 3},
            "image_count_uploading": {"usage": 1, "limit": -1},
        }
    }
    say(server, Quota(images=UNLIMITED))
    assert server.call("GET", "/v2/info/usage").json == {"usage": {}}
    assert server.call("POST", "/v2/info/usage", b"", OCTETS).status == 405


def test_refusals_are_counted_by_quota(bounded: RunningServer) -> None:
    def counted() -> float:
        lines = bounded.call("GET", "/metrics").body.decode().splitlines()
        found = [line for line in lines if line.startswith('drystone_quota_refusals_total{quota="bytes"}')]
        return float(found[0].split()[-1]) if found else 0.0

    before = counted()
    put(bounded, bounded.new_image(), b"x" * 11)
    put(bounded, bounded.new_image(), b"x" * 10)
    assert counted() == before + 1
