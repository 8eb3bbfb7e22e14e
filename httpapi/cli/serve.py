"""`drystone serve`: the server, on one data directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.setting_flags import setting_flags

if TYPE_CHECKING:
    from pathlib import Path

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone serve
  drystone serve --data /srv/images --listen 127.0.0.1:9292
  openstack --os-auth-type none --os-endpoint http://127.0.0.1:9292/v2 image list

\b
A configuration file:
  data = "/srv/images"
  listen = "127.0.0.1:9292"
  block_size = "64KiB"
"""


@click.command(epilog=EXAMPLES, short_help="Serve images from a data directory.")
@setting_flags
def serve(config: Path | None, **flags: object) -> None:
    """Serve images from a data directory until stopped.

    The server speaks the OpenStack Images API v2. Everything lies in the data directory: blocks, manifests, index and
    catalog; it must be on a local disk. Several servers of one machine may share it.

    --workers N serves with N processes on the one port, watched by this one: one that dies is started again.

    Without identity every caller is the same user, so it listens on loopback only.

    A flag goes before the variable DRYSTONE_SETTING, this before the file, this before the default; httpapi/README.md
    lists every setting.

    SIGTERM or Ctrl-C stops it: running requests may finish, for 30 seconds by default. A second signal ends it at
    once; nothing that was acknowledged is lost either way.
    """
    # The server's parts are heavy; `drystone --help` must not load them.
    from httpapi.refusals import REFUSALS, sentence_of
    from httpapi.settings import load
    from httpapi.workers.supervisor import WorkersFailed, supervise

    try:
        settings = load(config=config, flags=flags)
        if settings.workers > 1:
            # It only watches, so it loads nothing of the server.
            supervise(settings)
        else:
            from httpapi.bootstrap import run

            run(settings)
    except WorkersFailed as failure:
        raise click.ClickException(str(failure)) from failure
    except REFUSALS as refusal:
        raise click.ClickException(sentence_of(refusal)) from refusal
