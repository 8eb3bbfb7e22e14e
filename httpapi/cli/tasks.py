"""`drystone tasks`: what goes on in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.wire.tasks import TaskRecord

_SHORTEST: Final = 6
_SEARCHED: Final = 1000

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone tasks
  drystone tasks debian
  drystone tasks debian --watch && drystone show debian
  drystone tasks --cancel 3f9a02
  drystone tasks --json | jq -r '.[] | select(.status == "failure").message'
"""


@click.command(epilog=EXAMPLES)
@click.argument("image", required=False)
@click.option("--watch", "-w", is_flag=True, help="Follow what is under way until all of it is over.")
@click.option("--cancel", metavar="TASK", help="End this task; the first 6 or more digits of its id will do.")
@click.option("--limit", type=click.IntRange(1, _SEARCHED), default=25, show_default=True, help="The newest so many.")
@client_verb
def tasks(choices: Choices, image: str | None, *, watch: bool, cancel: str | None, limit: int) -> None:
    """Show tasks, newest first: work that goes on after its request was answered, such as hashing.

    With IMAGE those of that image. A task is pending, processing, success or failure; it is kept for two days after
    its end.

    On a terminal a table; elsewhere one line a task: id, type, image's id, image's name, status, progress in percent,
    time of creation and message, separated by tabs. --json prints an array of the tasks' records.

    --watch shows a bar a task on a terminal; elsewhere a line, or with --json an object, whenever one changes. If
    nothing is under way for IMAGE, it looks at IMAGE's newest task. The exit code is 1 if a task that it watched failed
    or was cancelled.
    """
    if cancel is not None:
        if image is not None or watch:
            raise click.UsageError("--cancel stands alone: it names the task itself")
        _cancel(choices, cancel)
    elif watch:
        _watch(choices, image)
    else:
        _list(choices, image, limit)


def _list(choices: Choices, image: str | None, limit: int) -> None:
    from httpapi.cli.task_output import print_tasks
    from httpapi.client.names import find_image
    from httpapi.client.tasks import image_names, image_tasks, newest_tasks, whole_tasks

    names: dict[str, str | None] = {}

    async def collect(api: ImagesApi) -> list[TaskRecord]:
        if image is None:
            found = await whole_tasks(api, await newest_tasks(api, limit))
        else:
            record = await find_image(api, image, project=choices.project)
            names[record.id] = record.name
            found = (await image_tasks(api, record.id))[:limit]
        await image_names(api, found, names)
        return found

    print_tasks(choices, run(choices, collect), names)


def _watch(choices: Choices, image: str | None) -> None:
    from httpapi.cli.task_output import watching
    from httpapi.client.names import find_image
    from httpapi.client.tasks import follow, image_names

    names: dict[str, str | None] = {}

    async def look(api: ImagesApi) -> Sequence[TaskRecord]:
        image_id = None if image is None else (await find_image(api, image, project=choices.project)).id
        seen: Sequence[TaskRecord] = ()
        with watching(choices) as show:
            async for seen in follow(api, image_id):
                await image_names(api, seen, names)
                show(seen, names)
        return seen

    seen = run(choices, look)
    failed = [task for task in seen if task.status != "success"]
    if not seen:
        click.echo("drystone: no task is under way", err=True)
    elif failed:
        last = failed[-1].message or "no reason is told"
        raise click.ClickException(f"{len(failed)} of {len(seen)} tasks did not succeed; {failed[-1].id}: {last}")


def _cancel(choices: Choices, text: str) -> None:
    from httpapi.cli.task_output import print_cancelled
    from httpapi.client.tasks import cancel_task

    async def end(api: ImagesApi) -> TaskRecord:
        return await cancel_task(api, await _task_id(api, text))

    print_cancelled(choices, run(choices, end))


async def _task_id(api: ImagesApi, text: str) -> str:
    """The id that `text` means: a whole one, or the beginning of just one."""
    from httpapi.client.record import is_image_id
    from httpapi.client.tasks import newest_tasks

    # Tasks' ids are UUIDs as images' are.
    if is_image_id(text):
        return text
    wanted = text.replace("-", "").lower()
    if len(wanted) < _SHORTEST:
        raise click.UsageError(f"a task is named by its id, or by the first {_SHORTEST} or more digits of it")
    found = [task.id for task in await newest_tasks(api, _SEARCHED) if task.id.replace("-", "").startswith(wanted)]
    if len(found) > 1:
        raise click.UsageError(f"{len(found)} tasks' ids begin with {text}: give more digits")
    if not found:
        raise click.ClickException(f"no task's id begins with {text}: `drystone tasks` lists them")
    return found[0]
