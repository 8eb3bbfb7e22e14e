from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.policy import rules_with
from catalog.usecases.services import Services
from httpapi.client.deleted import list_deleted
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.new_catalog import new_catalog
from tests.kit.running_server import ADMIN, RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.httpapi.cli.conftest import Drystone
    from tests.kit.small_server import SmallServer


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A server that keeps deleted images for a day."""
    database = new_catalog(tmp_path / "catalog.sqlite")
    yield Services(database=database, blocks=MemoryBlocks(), keep_deleted=86400.0)
    database.close()


def pushed(server: RunningServer, name: str, data: bytes = b"some bytes") -> str:
    image = server.new_image(name=name)
    octets = {"Content-Type": "application/octet-stream"}
    assert server.call("PUT", f"/v2/images/{image}/file", data, octets).status == 204
    return image


def deleted(server: RunningServer, name: str) -> str:
    image = pushed(server, name)
    assert server.call("DELETE", f"/v2/images/{image}").status == 204
    return image


def listed(server: RunningServer) -> set[str]:
    return {each["id"] for each in server.call("GET", "/v2/images").json["images"]}


def test_what_rm_deleted_is_listed_and_comes_back_by_name_prefix_or_id(
    server: RunningServer, drystone: Drystone
) -> None:
    for text in ("name", "prefix", "id"):
        image = pushed(server, "disk")
        assert drystone("rm", "--yes", "disk") == (0, f"{image}\n", "")
        code, out, _ = drystone("ls", "--deleted")
        assert code == 0
        [[found, name, size, gone, until]] = [line.split("\t") for line in out.splitlines()]
        assert (found, name, size) == (image, "disk", "10")
        assert gone[10:] == until[10:]
        assert gone < until
        assert drystone("ls", "disk") == (0, "", "")
        wanted = {"name": "disk", "prefix": image[:8].upper(), "id": image.upper()}[text]
        assert drystone("undelete", wanted) == (0, f"{image}\n", "")
        assert listed(server) == {image}
        assert drystone("ls", "--deleted") == (0, "", "")
        server.call("DELETE", f"/v2/images/{image}")
        drystone("undelete", image)
        drystone("rm", "--yes", image)
        assert server.services.keep_deleted
        server.run(_expired(server))


async def _expired(server: RunningServer) -> None:
    from datetime import timedelta

    from catalog.usecases.expiry import expire_deleted

    now = server.services.clock()
    await server.services.database.write(lambda uow: expire_deleted(uow, now, timedelta(0)))


def test_a_name_that_several_had_means_all_only_where_that_is_said(server: RunningServer, drystone: Drystone) -> None:
    one, two, other = (deleted(server, name) for name in ("disk", "disk", "other"))
    code, out, err = drystone("undelete", "disk")
    assert (code, out) == (2, "")
    assert "may mean any of 2 images" in err
    assert one in err
    assert two in err
    assert listed(server) == set()
    code, out, _ = drystone("undelete", "--all", "disk", "other")
    assert (code, set(out.split())) == (0, {one, two, other})
    assert listed(server) == {one, two, other}


def test_nothing_is_brought_back_unless_all_are_found(server: RunningServer, drystone: Drystone) -> None:
    deleted(server, "disk")
    code, out, err = drystone("undelete", "disk", "nothing")
    assert (code, out) == (1, "")
    assert "no deleted image has the id, id prefix or name 'nothing': `drystone ls --deleted`" in err
    assert listed(server) == set()


def test_one_that_is_not_kept_any_more_or_not_deleted_is_an_error_with_the_reason(
    server: RunningServer, drystone: Drystone
) -> None:
    gone, there = deleted(server, "disk"), pushed(server, "there")
    server.run(_expired(server))
    code, _, err = drystone("undelete", gone)
    assert (code, "not kept any more" in err, "HTTP 410" in err) == (1, True, True)
    code, _, err = drystone("undelete", there)
    assert (code, "is active, not deleted" in err) == (1, True)


def test_json_has_the_records(server: RunningServer, drystone: Drystone) -> None:
    image = deleted(server, "disk")
    [record] = json.loads(drystone("ls", "--deleted", "--json")[1])
    assert (record["id"], record["status"], record["owner"]) == (image, "active", "default")
    assert drystone("ls", "--deleted", "other", "--json")[1] == "[]\n"
    assert drystone("ls", "--deleted", "-q")[1] == f"{image}\n"
    [back] = json.loads(drystone("undelete", "disk", "--json")[1])
    assert (back["id"], back["size"]) == (image, 10)


def test_a_list_of_deleted_images_stands_alone(drystone: Drystone) -> None:
    for other in (("--all",), ("--tag", "a")):
        code, _, err = drystone("ls", "--deleted", *other)
        assert (code, "neither --tag nor --all" in err) == (2, True)


def test_a_list_of_many_comes_in_pages(
    server: RunningServer, drystone: Drystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [deleted(server, f"disk {number}") for number in range(5)]
    monkeypatch.setattr(f"{list_deleted.__module__}._PAGE", 2)
    assert drystone("ls", "--deleted", "-q")[1].split() == ids[::-1]


def test_another_service_is_told_to_keep_none(
    small: SmallServer, drystone: Drystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRYSTONE_ENDPOINT", small.url)
    image = small.add("disk")
    for verb in (("ls", "--deleted"), ("undelete", "disk"), ("undelete", image)):
        code, _, err = drystone(*verb)
        assert (code, "does not keep deleted images" in err) == (1, True)


def test_what_a_forget_deleted_comes_back(server: RunningServer, drystone: Drystone) -> None:
    ids = [pushed(server, "disk", b"%d" % number) for number in range(4)]
    code, out, _ = drystone("forget", "disk", "--keep-last", "1", "--quiet")
    assert (code, out.split()) == (0, ids[:3])
    assert listed(server) == {ids[3]}
    assert drystone("undelete", "--all", "disk", "--quiet")[0] == 0
    assert listed(server) == set(ids)


def test_the_help_teaches(drystone: Drystone) -> None:
    out = drystone("undelete", "--help")[1]
    for word in ("gc_keep_deleted", "ls --deleted", "--all", "forget"):
        assert word in out


def test_what_comes_back_less_visible_is_told(
    server: RunningServer, drystone: Drystone, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = server.new_image(name="disk", visibility="public")
    octets = {"Content-Type": "application/octet-stream"}
    assert server.call("PUT", f"/v2/images/{image}/file", b"some bytes", octets).status == 204
    assert drystone("rm", "--yes", image)[0] == 0
    caller = replace(ADMIN, rules=rules_with({"publicize_image": "!"}))
    with RunningServer(services, caller=caller) as strict:
        monkeypatch.setenv("DRYSTONE_ENDPOINT", f"http://127.0.0.1:{strict.port}")
        code, out, err = drystone("undelete", image)
    assert (code, out) == (0, f"{image}\n")
    assert err.startswith(f"drystone: image {image} was public, and is private now: ask an administrator")
    assert server.call("GET", f"/v2/images/{image}").json["visibility"] == "private"
