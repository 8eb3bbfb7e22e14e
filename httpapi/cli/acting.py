"""What `deactivate` and `reactivate` share: one action on each of several images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from httpapi.cli.verb import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpapi.cli.verb import Choices
    from httpapi.client.api import ImagesApi


def act(choices: Choices, images: Sequence[str], action: str) -> None:
    """Nothing is done unless every image is found; the ids of those it was done to are printed as it is done."""
    from httpapi.cli.output import print_json
    from httpapi.client.changing import act_on
    from httpapi.client.names import find_image

    done: list[str] = []

    async def each(api: ImagesApi) -> None:
        found = [await find_image(api, text, project=choices.project) for text in images]
        for image_id in dict.fromkeys(image.id for image in found):
            await act_on(api, image_id, action)
            done.append(image_id)
            if not choices.json:
                click.echo(image_id)

    try:
        run(choices, each)
    finally:
        if choices.json:
            print_json([{"id": image_id} for image_id in done])
