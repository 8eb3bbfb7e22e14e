"""What `import` and `copy` share: waiting for what the service does, and what is said when that is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from httpapi.cli.verb import run

if TYPE_CHECKING:
    from httpapi.cli.verb import Choices
    from httpapi.client.api import ImagesApi
    from httpapi.client.imports import Begun
    from httpapi.wire.images import ImageRecord


def wait_for(choices: Choices, begun: Begun) -> ImageRecord:
    """Follow an import to its end, with a bar on a terminal; the image. An interruption leaves it going on."""
    from httpapi.cli.progress import reporting
    from httpapi.cli.task_output import waiting
    from httpapi.client.imports import check, follow

    async def end(api: ImagesApi) -> ImageRecord:
        with waiting(choices) as show, reporting("import", quiet=True) as report:
            async for task in follow(api, begun, report):
                show([task], {})
        return await check(api, begun)

    try:
        return run(choices, end)
    except KeyboardInterrupt:
        task = begun.task.id
        click.echo(
            f"drystone: the service goes on by itself: `drystone tasks {begun.image_id} --watch` follows it, "
            f"`drystone tasks --cancel {task}` ends it",
            err=True,
        )
        raise


def print_image(choices: Choices, image: ImageRecord, sentence: str) -> None:
    """The image's id for programs, a sentence for people, its record with --json."""
    from httpapi.cli.output import is_terminal, print_json, printable

    if choices.json:
        print_json(image.to_json())
    elif choices.quiet or not is_terminal():
        click.echo(image.id)
    else:
        click.echo(f"{printable(sentence)}\n{image.id}")


def print_begun(choices: Choices, begun: Begun) -> None:
    """What was begun and is not waited for."""
    from httpapi.cli.output import is_terminal, print_json

    if choices.json:
        print_json(begun.task.to_json())
    elif choices.quiet or not is_terminal():
        click.echo(begun.image_id)
    else:
        click.echo(f"{begun.image_id}: under way; `drystone tasks {begun.image_id} --watch` follows it")
