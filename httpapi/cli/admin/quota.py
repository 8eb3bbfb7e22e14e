"""`drystone admin quota`: what each project may have, and has."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.admin.host_verb import Chosen, HostVerbs, host_verb, opened
from httpapi.cli.admin.quota_options import bounds, checked, whose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from catalog.inventory import Records
    from catalog.model.quota import Quota
    from catalog.ports import UnitOfWork

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin quota set lab --bytes 2TiB --images 1000 --data /srv/images
  drystone admin quota set --default --uploads 20
  drystone admin quota set operators --bytes unlimited
  drystone admin quota show lab
  drystone admin quota list --json
  drystone admin quota unset lab --images

\b
What the words mean:
  images         a project's images, in any status
  bytes          their sizes, as flat disks, and what is being uploaded
  uploads        uploads under way
  staged-bytes   what these have announced or reserved
"""


@click.group(cls=HostVerbs, epilog=EXAMPLES)
def quota() -> None:
    """Say how much a project may have: images, bytes, uploads under way and their bytes.

    It counts at once, in all running servers. What is said here of a project goes before the quota_file, and what is
    said of all others, with --default, before the file's [default]. What a project has already stays.
    """


@quota.command(short_help="All projects that have, or may have, something.")
@host_verb
def list(chosen: Chosen) -> None:  # noqa: A001 - the verb's name
    """List every project that has images or of which a quota is said: a line for each quota of each project."""
    from httpapi.cli.admin.quota_output import print_quotas

    with _opened(chosen) as records:
        print_quotas(records, chosen)


@quota.command(short_help="What one project may have, and has.")
@click.argument("project")
@host_verb
def show(chosen: Chosen, *, project: str) -> None:
    """Show what a project may have, who says so, and what it has."""
    from httpapi.cli.admin.quota_output import print_quotas

    with _opened(chosen) as records:
        print_quotas(records, chosen, checked(project))


@quota.command("set", short_help="Say what a project may have.")
@whose
@bounds
@host_verb
def set_quota(chosen: Chosen, *, project: str | None, **said: int | None) -> None:
    """Say what a project may have; what is not named stays as it is said.

    A quota below what the project has refuses what comes from now on, and takes nothing away.
    """
    from catalog.model.quota import Quota
    from httpapi.cli.admin.quota_output import print_quotas
    from httpapi.cli.admin.showing import say

    if all(bound is None for bound in said.values()):
        raise click.UsageError("Name at least one of --images, --bytes, --uploads, --staged-bytes.")
    with _opened(chosen) as records:
        _change(records, project, lambda before: Quota(**said).over(before))
        if project is not None and not records.read(lambda uow: uow.quotas.usage(project)).images and not chosen.quiet:
            say(f"project {project!r} has no images yet: is that its name?")
        print_quotas(records, chosen, project, default=project is None)


@quota.command(short_help="Take back what was said with set.")
@whose
@click.option("--images", is_flag=True, help="This quota, and no other that is not named.")
@click.option("--bytes", is_flag=True, help="Likewise.")
@click.option("--uploads", is_flag=True, help="Likewise.")
@click.option("--staged-bytes", is_flag=True, help="Likewise.")
@host_verb
def unset(chosen: Chosen, *, project: str | None, **named: bool) -> None:
    """Take back what was said of a project with set: all of it, or the quotas that are named.

    Then the quota_file and what is said of all others count again.
    """
    from dataclasses import replace

    from catalog.model.quota import NO_QUOTA
    from httpapi.cli.admin.quota_output import print_quotas

    gone = dict.fromkeys((name for name, chosen_too in named.items() if chosen_too), None)
    with _opened(chosen) as records:
        _change(records, project, lambda before: replace(before, **gone) if gone else NO_QUOTA)
        print_quotas(records, chosen, project, default=project is None)


@quota.command(short_help="Count images and bytes anew, should verify say so.")
@host_verb
def recount(chosen: Chosen) -> None:
    """Count each project's images and their bytes anew; `admin verify` says when that is needed. Servers may run."""
    from httpapi.cli.admin.quota_output import print_quotas

    with _opened(chosen) as records:
        records.write(lambda uow: uow.quotas.recount())
        print_quotas(records, chosen)


@contextlib.contextmanager
def _opened(chosen: Chosen) -> Iterator[Records]:
    """The catalog, beside whoever else has it."""
    with opened(chosen, "admin quota", exclusive=False) as (_, records):
        yield records


def _change(records: Records, project: str | None, change: Callable[[Quota], Quota]) -> None:
    def step(uow: UnitOfWork) -> None:
        said = uow.quotas.all_said()
        uow.quotas.say(project, change(said.default if project is None else said.of(project)))

    records.write(step)
