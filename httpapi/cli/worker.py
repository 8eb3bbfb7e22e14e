"""`drystone worker`: jobs, in a process of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone worker --data /srv/images
  drystone worker --data /srv/images --jobs 4
  drystone tasks --watch

\b
Requests here, jobs there:
  DRYSTONE_JOBS=0 drystone serve --data /srv/images &
  drystone worker --data /srv/images --jobs 2 &
"""


@click.command(epilog=EXAMPLES, short_help="Work on jobs beside a server.")
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file of settings (also DRYSTONE_CONFIG).")
@click.option("--data", type=click.Path(path_type=Path), help="The data directory.  [default: ./data]")
@click.option(
    "--jobs", type=click.IntRange(1, 64), metavar="N", help="So many jobs at once.  [default: the setting, or 1]"
)
@click.option(
    "--slow-jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    help="So many slow ones beside them, such as imports.  [default: the setting, or 4]",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="How much to log.  [default: info]"
)
def worker(
    config: Path | None, data: Path | None, jobs: int | None, slow_jobs: int | None, log_level: str | None
) -> None:
    """Work on what goes on after requests are answered, such as hashing with the setting hashes = "background".

    It opens the same data directory as `drystone serve`, as a process beside it on the same machine; several may run.
    It takes `serve`'s settings, except that jobs = 0, which leaves jobs to workers, means one at a time here. Imports,
    which may take hours, have places of their own (slow_jobs) and never hold up what takes seconds.

    A job whose worker dies runs again elsewhere, in seconds. SIGTERM or Ctrl-C stops it: running jobs may finish, for
    30 seconds by default, and are put back after that. A second signal ends it at once.
    """
    # The server's parts are heavy; `drystone --help` must not load them.
    from blockstore.errors import BlockstoreError, StoreUnavailable
    from catalog.model.errors import CatalogError
    from httpapi.bootstrap import run_worker
    from httpapi.settings import SettingsRefused, load

    try:
        run_worker(
            load(config=config, flags={"data": data, "jobs": jobs, "slow_jobs": slow_jobs, "log_level": log_level})
        )
    except (OSError, StoreUnavailable) as error:
        raise click.ClickException(f"{error}: put this right, or choose another data directory with --data.") from error
    except (BlockstoreError, CatalogError, SettingsRefused) as error:
        raise click.ClickException(str(error)) from error
