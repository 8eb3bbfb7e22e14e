from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from catalog.model.errors import AddressRefused, SourceChanged, SourceLost, SourceRefused
from catalog.model.foreign_image import ForeignImage, NotTaken
from catalog.stores.other_services import KeptTokens
from tests.kit.broken_web import BrokenWeb, Served
from tests.kit.other_cloud import CATALOG, FILE, IMAGE, RECORD, other_cloud, serve_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.stores.other_services import OtherServices

TASK = "c7edec8e-24b5-416a-9d42-b3e773bab62c"
DATA = os.urandom(1 << 20)
TOLD: dict[str, Any] = {
    "os_hash_algo": "sha512",
    "os_hash_value": "ab" * 64,
    "hw_cpu_cores": "5",
    "trait:STORAGE_DISK_SSD": "required",
    "os_distro": "rhel",
    "speed": "88mph",
    "owner": "somebody",
}
WHOLE: dict[str, Any] = {"status": "active", "disk_format": "raw", "container_format": "bare", "size": 5, **TOLD}


@pytest.fixture
def web() -> Iterator[BrokenWeb]:
    with BrokenWeb() as running:
        serve_image(running, DATA, **TOLD)
        yield running


@pytest.fixture
def services(web: BrokenWeb, tmp_path: Path) -> OtherServices:
    found = other_cloud(web, tmp_path)
    found.tokens.keep(TASK, "the-token")
    return found


async def fetched(services: OtherServices, *, region: str = "West", interface: str = "public") -> bytes:
    async with services.opened(TASK, IMAGE, region=region, interface=interface) as image:
        remote = await image.open(limit=len(DATA))
        room, found = memoryview(bytearray(1 << 16)), bytearray()
        while count := await remote.read_into(room):
            found += room[:count]
        remote.close()
    return bytes(found)


def test_an_image_of_another_region_comes_with_what_is_told_of_it(web: BrokenWeb, services: OtherServices) -> None:
    async def scene() -> ForeignImage:
        async with services.opened(TASK, IMAGE, region="West") as image:
            return image.told

    assert asyncio.run(scene()) == ForeignImage(
        "raw",
        "bare",
        len(DATA),
        ("sha512", "ab" * 64),
        {"hw_cpu_cores": "5", "trait:STORAGE_DISK_SSD": "required", "os_distro": "rhel"},
    )
    assert asyncio.run(fetched(services)) == DATA
    assert {asked.headers.get("x-auth-token") for asked in web.asked} == {"the-token"}


def test_what_breaks_off_there_goes_on_though_no_version_is_named(web: BrokenWeb, services: OtherServices) -> None:
    file = web.files[FILE]
    file.drops = [1000, 1]
    assert asyncio.run(fetched(services)) == DATA
    file.ranges, file.drops = False, [1000, 5000]
    assert asyncio.run(fetched(services)) == DATA

    def grow(served: Served) -> None:
        served.data += b"more"

    file.ranges, file.drops, file.after_drop = True, [1000], grow
    with pytest.raises(SourceChanged):
        asyncio.run(fetched(services))


@pytest.mark.parametrize(("region", "interface"), [("not a region", "public"), ("West", "not an interface")])
def test_an_unknown_region_or_interface_is_refused(services: OtherServices, region: str, interface: str) -> None:
    with pytest.raises(SourceRefused, match=f"no image service in region '{region}' with a {interface!r}"):
        asyncio.run(fetched(services, region=region, interface=interface))


@pytest.mark.parametrize("path", [CATALOG, RECORD, FILE])
def test_a_token_that_has_ended_is_an_error_that_says_so(web: BrokenWeb, services: OtherServices, path: str) -> None:
    web.files[path].status = 401
    with pytest.raises(SourceRefused, match=r"token .* is not valid any more: ask again") as refused:
        asyncio.run(fetched(services))
    assert "the-token" not in str(refused.value)
    services.tokens.forget(TASK)
    services.tokens.forget(TASK)
    with pytest.raises(SourceRefused, match="is not kept any more"):
        asyncio.run(fetched(services))


def test_an_image_that_is_not_there_or_has_no_bytes_is_refused(web: BrokenWeb, services: OtherServices) -> None:
    serve_image(web, DATA, status="queued")
    with pytest.raises(SourceRefused, match="'queued' at the other service"):
        asyncio.run(fetched(services))
    web.files[RECORD].data = b"<html>"
    with pytest.raises(SourceLost, match="no JSON"):
        asyncio.run(fetched(services))
    web.files[RECORD].status = 404
    with pytest.raises(SourceRefused, match="answers 404"):
        asyncio.run(fetched(services))
    web.files[CATALOG].data = b'{"catalog": [1, {"type": "image", "endpoints": 5}]}'
    with pytest.raises(SourceRefused, match="no image service"):
        asyncio.run(fetched(services))


def test_other_bytes_than_are_told_are_noticed(web: BrokenWeb, services: OtherServices) -> None:
    web.files[FILE].data = DATA[1:]
    with pytest.raises(SourceLost, match=f"tells {len(DATA)} bytes of the image and sends {len(DATA) - 1}"):
        asyncio.run(fetched(services))


def test_where_the_other_service_leads_on_to_is_judged(web: BrokenWeb, services: OtherServices) -> None:
    web.redirect(FILE, f"http://10.0.0.1:{web.port}/")
    with pytest.raises(AddressRefused, match="private address"):
        asyncio.run(fetched(services))


def test_tokens_are_for_nobody_else_and_do_not_stay(tmp_path: Path) -> None:
    tokens = KeptTokens(tmp_path / "tokens")
    assert not tokens.held()
    assert tokens.of(TASK) is None
    tokens.keep(TASK, "secret")
    path = tmp_path / "tokens" / TASK
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert tokens.of(TASK) == "secret"
    assert tokens.held() == {TASK: path.stat().st_mtime}
    tokens.forget(TASK)
    assert not tokens.held()


@pytest.mark.parametrize(
    "record", [None, [], {}, WHOLE | {"status": "deactivated"}, WHOLE | {"disk_format": None}, WHOLE | {"status": 5}]
)
def test_a_record_that_cannot_be_used_is_refused(record: object) -> None:
    with pytest.raises(NotTaken):
        ForeignImage.of(record)


def test_a_record_with_odd_parts_is_taken_without_them() -> None:
    odd = WHOLE | {"size": True, "os_hash_value": "x", "hw_list": ["a"], "os_type": None}
    taken = ForeignImage.of(odd)
    assert (taken.size, taken.hash) == (None, None)
    assert set(taken.properties) == {"hw_cpu_cores", "trait:STORAGE_DISK_SSD", "os_distro"}
