"""The command line's root: `drystone VERB`. Verbs are loaded when they are called, so that --help is fast."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

import click

from httpapi.cli.output import printable
from httpapi.cli.verb import common_options
from httpapi.client.errors import Ambiguous, ClientError

if TYPE_CHECKING:
    from collections.abc import Sequence

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

# verb: (module, attribute, one line of help)
VERBS: Final = {
    "serve": ("httpapi.cli.serve", "serve", "Run the image service on a data directory."),
    "worker": ("httpapi.cli.worker", "worker", "Work on jobs beside a server."),
    "config": ("httpapi.cli.config", "config", "See what the settings come to, or print a systemd unit."),
    "admin": ("httpapi.cli.admin.group", "admin", "Count, verify, clean up or mend what is stored."),
    "ls": ("httpapi.cli.ls", "ls", "List images."),
    "show": ("httpapi.cli.show", "show", "Show everything known of an image."),
    "set": ("httpapi.cli.set", "set_", "Change what is said of an image."),
    "tag": ("httpapi.cli.tag", "tag", "Put tags on an image, take them off, or list them."),
    "push": ("httpapi.cli.push", "push", "Upload a disk image."),
    "import": (
        "httpapi.cli.import_",
        "import_",
        "Have the service fetch an image, or import a file or a directory of disks.",
    ),
    "pull": ("httpapi.cli.pull", "pull", "Download an image."),
    "nbd": ("httpapi.cli.nbd", "nbd", "Serve an image as a disk that machines boot from."),
    "diff": ("httpapi.cli.diff", "diff", "Tell where two images or files differ."),
    "tree": ("httpapi.cli.tree", "tree", "Draw which image came from which."),
    "coalesce": ("httpapi.cli.coalesce", "coalesce", "Make an image independent of its ancestors."),
    "convert": ("httpapi.cli.convert", "convert", "Make a new image of a disk in another format."),
    "copy": ("httpapi.cli.copy", "copy", "Copy an image into further stores."),
    "url": ("httpapi.cli.url", "url", "A URL for programs that can send no login."),
    "locations": ("httpapi.cli.locations", "locations", "Show where an image lies."),
    "deactivate": ("httpapi.cli.deactivate", "deactivate", "Keep an image's bytes from everybody."),
    "reactivate": ("httpapi.cli.reactivate", "reactivate", "Let an image be read again."),
    "rm": ("httpapi.cli.rm", "rm", "Delete images."),
    "forget": ("httpapi.cli.forget", "forget", "Delete old versions by a policy."),
    "undelete": ("httpapi.cli.undelete", "undelete", "Bring back deleted images."),
    "vm": ("httpapi.cli.vm.group", "vm", "Back up virtual machines that run, and bring them back."),
    "stores": ("httpapi.cli.stores", "stores", "List the places where images' bytes may lie."),
    "login": ("httpapi.cli.login", "login", "Log in to a service, for the verbs that follow."),
    "logout": ("httpapi.cli.logout", "logout", "Forget a login."),
    "user": ("httpapi.cli.user.group", "user", "Make, list and remove the users of a server."),
    "tasks": ("httpapi.cli.tasks", "tasks", "Show or follow what goes on in the background."),
}


# \b keeps click from wrapping the lines.
MANUAL: Final = """
\b
Examples:
  drystone serve --data ./data
  drystone push disk.raw --name debian
  drystone pull debian copy.raw

\b
Environment:
  DRYSTONE_ENDPOINT   the service's address; else OS_CLOUD, OS_ENDPOINT, your login
  DRYSTONE_USER       with DRYSTONE_PASSWORD: a login; `drystone login` keeps one
  DRYSTONE_PROJECT    your project's id, where you see others' images (else OS_PROJECT_ID)
  DRYSTONE_CACERT     authorities of the service's certificate (else OS_CACERT)

\b
Exit codes:
  0    done
  1    failed; standard error says why and what to do
  2    wrong usage, or an IMAGE that may mean several
  130  interrupted
"""


class Verbs(click.Group):
    """Knows each verb by name and one line, and imports its module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The verbs, in the order of VERBS."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        """The verb's command; None for an unknown one."""
        if cmd_name not in VERBS:
            return None
        module, attribute, _ = VERBS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """The verbs' lines, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, _, line) in VERBS.items()])


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's signature
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"drystone {version('drystone')}")
    except PackageNotFoundError:
        click.echo("drystone, from a checkout that is not installed")
    context.exit()


@click.group(cls=Verbs, epilog=MANUAL, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@common_options
@click.pass_context
def cli(context: click.Context, /, **choices: object) -> None:
    """Drystone: disk images in and out of a service that stores equal blocks once.

    IMAGE is an id, the first 6 or more digits of one, or a name (your newest active image of that name).
    """
    context.obj = choices


def main() -> NoReturn:
    """The console script."""
    # Nothing here multiplies matrices, and numpy's library for that would start threads which spin for a while.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # noqa: TID251 - told to the library, not read
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """One command, to its exit code. Errors are one line on standard error, never a traceback."""
    try:
        outcome = cli.main(args=list(arguments), prog_name="drystone", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _mute_stdout()
        return FAILURE
    except (click.ClickException, ClientError, OSError) as failure:
        return _explain(failure)
    return outcome if isinstance(outcome, int) else OK


def _explain(failure: Exception) -> int:
    """Tells the user what went wrong; the exit code for it."""
    if isinstance(failure, click.exceptions.NoArgsIsHelpError):
        click.echo(failure.format_message(), err=True)
        return USAGE
    if isinstance(failure, click.UsageError):
        path = failure.ctx.command_path if failure.ctx else "drystone"
        _say(f"{failure.format_message().rstrip('.')}: see `{path} --help`")
        return USAGE
    if isinstance(failure, click.ClickException):
        _say(failure.format_message())
        return failure.exit_code
    if isinstance(failure, Ambiguous):
        _say(str(failure))
        _list_candidates(failure)
        return USAGE
    if isinstance(failure, OSError):
        where = f": {failure.filename}" if failure.filename else ""
        _say(f"{failure.strerror or failure}{where}")
        return FAILURE
    _say(str(failure))
    return FAILURE


def _list_candidates(failure: Ambiguous) -> None:
    for image in failure.candidates:
        columns = (image.id, image.created_at, image.status, image.name)
        click.echo("  " + "  ".join(printable(column) for column in columns), err=True)


def _say(sentence: str) -> None:
    """A message may quote a server, or a file's name: neither may command the terminal."""
    lines = (printable(line) for line in sentence.split("\n"))
    click.echo("drystone: " + "\n".join(lines), err=True)


def _mute_stdout() -> None:
    """Nobody reads standard output any more: let the interpreter's last flush go nowhere, in silence."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
