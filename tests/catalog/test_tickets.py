"""Tickets: who may have one, what it is good for, and what ends it."""

from __future__ import annotations

import asyncio
import string
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog import policy, tickets
from catalog.model.caller import Caller
from catalog.model.errors import Conflict, Forbidden, Invalid, NotFound, TicketRefused
from catalog.model.image import Visibility
from catalog.model.new_image import NewImage
from catalog.usecases import activation, images
from catalog.usecases import tickets as use
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, READER, put
from tests.kit.memory_keys import MemoryKeys

if TYPE_CHECKING:
    from catalog.model.image import Image
    from catalog.usecases.services import Services

IMAGE = "0c1f7a52-93a1-4a53-8c3d-0b6f4f5f0b11"
NOW = 1_800_000_000.0


@pytest.fixture
def keys() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def services(services: Services, keys: MemoryKeys) -> Services:
    return replace(services, url_keys=keys)


async def made(services: Services, **attributes: object) -> Image:
    new = replace(RAW, **attributes)  # type: ignore[arg-type]  # as each test gives them
    return await put(services, await images.create(services, ANNA, new), b"bytes")


async def read(services: Services, text: str, name: str = "", image_id: str | None = None) -> bytes:
    _, download = await use.download(services, text, name=name, image_id=image_id)
    try:
        return b"".join([bytes(piece) async for piece in download.read(0, download.size)])
    finally:
        download.close()


def test_a_ticket_is_good_for_its_image_and_name_until_it_expires(keys: MemoryKeys) -> None:
    key = keys.add()
    text = tickets.signed(key, IMAGE, int(NOW) + 10, "disk.raw")
    assert (len(text), text.startswith(tickets.MARK)) == (tickets.LENGTH, True)
    assert tickets.checked(keys, text, NOW, "disk.raw") == tickets.Ticket(key.id, int(NOW) + 10, IMAGE)
    for now, name in ((NOW + 10, "disk.raw"), (NOW, "disk.rav"), (NOW, "")):
        with pytest.raises(TicketRefused):
            tickets.checked(keys, text, now, name)


def test_every_other_character_at_every_place_makes_another_ticket(keys: MemoryKeys) -> None:
    text = tickets.signed(keys.add(), IMAGE, int(NOW) + 10)
    for at, right in enumerate(text):
        for other in {*string.ascii_letters, *string.digits, *"-_=%+/ \n\u00e9"} - {right}:
            with pytest.raises(TicketRefused):
                tickets.checked(keys, text[:at] + other + text[at + 1 :], NOW)
    for other in ("", text[:-1], text + "A", text + "=", text[4:], f" {text}"):
        with pytest.raises(TicketRefused):
            tickets.checked(keys, other, NOW)


def test_a_key_that_was_taken_away_or_is_another_services_signs_nothing(keys: MemoryKeys) -> None:
    old, new = keys.add(), keys.add()
    texts = [tickets.signed(key, IMAGE, int(NOW) + 10) for key in (old, new)]
    for text in texts:
        tickets.checked(keys, text, NOW)
    forged = replace(old, secret=bytes(32))
    for text in (tickets.signed(forged, IMAGE, int(NOW) + 10), tickets.signed(MemoryKeys().add(), IMAGE, 2**39)):
        with pytest.raises(TicketRefused):
            tickets.checked(keys, text, NOW)
    del keys.keys[old.id]
    tickets.checked(keys, texts[1], NOW)
    with pytest.raises(TicketRefused):
        tickets.checked(keys, texts[0], NOW)


def test_what_a_log_may_say_of_a_ticket_is_its_key_and_its_image(keys: MemoryKeys) -> None:
    key = keys.add()
    found = tickets.ticket_in(tickets.signed(key, IMAGE, 5))
    assert found is not None
    assert found.told == f"{key.id.hex()}.{IMAGE}"
    assert repr(key.secret) not in repr(key)
    assert tickets.ticket_in("A" * tickets.LENGTH) is None


@pytest.mark.parametrize(
    ("name", "disk_format", "told"),
    [
        ("debian-12", "qcow2", "debian-12.qcow2"),
        ("debian-12.raw", "raw", "debian-12.raw"),
        ("../../etc/passwd", "raw", "etc-passwd.raw"),
        ("Größe ✓ 10%/?#", "vmdk", "Gr-e-10.vmdk"),
        ("...", "iso", "image.iso"),
        (None, None, "image"),
        ("n" * 200, "raw", "n" * 64 + ".raw"),
    ],
)
def test_a_url_calls_an_image_by_its_name_without_an_escape(
    services: Services, name: str | None, disk_format: str | None, told: str
) -> None:
    new = NewImage(name=name, disk_format=disk_format, container_format="bare")
    assert tickets.file_name(asyncio.run(images.create(services, ANNA, new))) == told


def test_both_tickets_of_an_image_read_it_and_neither_stands_for_the_other(services: Services) -> None:
    async def scene() -> None:
        image, other = await made(services), await made(services)
        signed = await use.sign(services, ANNA, image.id.upper())
        assert (signed.image_id, signed.name) == (image.id, "disk.raw")
        assert await read(services, signed.url_ticket, "disk.raw") == b"bytes"
        assert await read(services, signed.cookie_ticket, image_id=image.id.upper()) == b"bytes"
        for text, name, image_id in (
            (signed.url_ticket, "disk.qcow2", None),
            (signed.url_ticket, "", image.id),
            (signed.cookie_ticket, "disk.raw", None),
            (signed.cookie_ticket, "", other.id),
            (signed.cookie_ticket, "", "no-id"),
        ):
            with pytest.raises(TicketRefused):
                await read(services, text, name, image_id)

    asyncio.run(scene())


def test_a_ticket_is_good_for_as_long_as_was_asked_for_within_the_longest(services: Services) -> None:
    async def scene() -> None:
        image = await made(services)
        for seconds, longest, expected in (
            (60, 100.0, 60),
            (None, 100.0, 100),
            (None, 1e6, use.USUAL),
            (100, 100.0, 100),
        ):
            there = replace(services, ticket_longest=longest)
            before = services.clock().timestamp()
            signed = await use.sign(there, ANNA, image.id, seconds)
            assert 0 <= signed.expires_at.timestamp() - before - expected <= 3
        there = replace(services, ticket_longest=100.0)
        refused: tuple[object, ...] = (0, -1, 101, 1.5, "60", True, [], 10**30)
        for wrong in refused:
            with pytest.raises(Invalid, match="from 1 to 100"):
                await use.sign(there, ANNA, image.id, wrong)

    asyncio.run(scene())


def test_who_may_not_download_an_image_signs_nothing_of_it(services: Services) -> None:
    async def scene() -> None:
        private = await made(services, visibility=Visibility.PRIVATE)
        community = await made(services, visibility=Visibility.COMMUNITY)
        for caller, image_id, error in (
            (BORIS, private.id, NotFound),
            (READER, private.id, Forbidden),
            (ADMIN, str(uuid.uuid4()), NotFound),
            (ANNA, "no-id", NotFound),
        ):
            with pytest.raises(error):
                await use.sign(services, caller, image_id)
        await use.sign(services, BORIS, community.id)
        strict = policy.rules_with({"sign_image_url": "rule:owners_member"})
        with pytest.raises(Forbidden):
            await use.sign(services, replace(BORIS, rules=strict), community.id)
        # It permits nothing that the rule of downloads forbids.
        wide = policy.rules_with({"sign_image_url": "", "download_image": "role:admin"})
        with pytest.raises(Forbidden):
            await use.sign(services, replace(ANNA, rules=wide), private.id)
        await use.sign(services, Caller("root", "x", frozenset({"admin"})), private.id)

    asyncio.run(scene())


def test_nothing_is_signed_of_an_image_that_nobody_could_download(services: Services) -> None:
    async def scene() -> None:
        queued = await images.create(services, ANNA, RAW)
        asleep = await made(services)
        await activation.deactivate(services, ANNA, asleep.id)
        for caller, image in ((ANNA, queued), (ADMIN, asleep)):
            with pytest.raises(Conflict):
                await use.sign(services, caller, image.id)
        with pytest.raises(Forbidden):
            await use.sign(services, ANNA, asleep.id)

    asyncio.run(scene())


def test_a_ticket_ends_with_its_image_and_rests_while_that_is_deactivated(services: Services) -> None:
    async def scene() -> None:
        image = await made(services)
        signed = await use.sign(services, ANNA, image.id)
        await activation.deactivate(services, ANNA, image.id)
        with pytest.raises(TicketRefused) as asleep:
            await read(services, signed.url_ticket, signed.name)
        await activation.reactivate(services, ANNA, image.id)
        assert await read(services, signed.url_ticket, signed.name) == b"bytes"
        await images.delete(services, ANNA, image.id)
        with pytest.raises(TicketRefused) as gone:
            await read(services, signed.url_ticket, signed.name)
        with pytest.raises(TicketRefused) as nonsense:
            await read(services, "nonsense", signed.name)
        assert str(asleep.value) == str(gone.value) == str(nonsense.value)

    asyncio.run(scene())


def test_a_service_that_signs_nothing_takes_nothing_either(services: Services) -> None:
    async def scene() -> None:
        image = await made(services)
        signed = await use.sign(services, ANNA, image.id)
        off = replace(services, url_keys=None)
        with pytest.raises(Forbidden, match="signed_urls"):
            await use.sign(off, ANNA, image.id)
        with pytest.raises(TicketRefused):
            await read(off, signed.url_ticket, signed.name)

    asyncio.run(scene())
