"""Changes of an image in short, and an image to change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from catalog.model.change import Act, Change
from catalog.usecases import images
from tests.catalog.cast import ANNA, RAW

if TYPE_CHECKING:
    from catalog.model.image import Image
    from catalog.usecases.services import Services


def put_(name: str, value: object) -> Change:
    return Change(Act.PUT, name, value)


def replaced(name: str, value: object) -> Change:
    return Change(Act.REPLACE, name, value)


def removed(name: str) -> Change:
    return Change(Act.REMOVE, name)


async def made(services: Services, **properties: str) -> Image:
    return await images.create(services, ANNA, replace(RAW, properties=properties))
