"""`drystone serve`: the server, on one data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

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
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file of settings (also DRYSTONE_CONFIG).")
@click.option("--data", type=click.Path(path_type=Path), help="The data directory; made if missing.  [default: ./data]")
@click.option(
    "--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.  [default: 127.0.0.1:9292]"
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="How much to log.  [default: info]"
)
def serve(config: Path | None, data: Path | None, listen: str | None, log_level: str | None) -> None:
    """Serve images from a data directory until stopped.

    The server speaks the OpenStack Images API v2. Everything lies in the data directory: blocks, manifests, index and
    catalog; it must be on a local disk. Several servers of one machine may share it.

    Without identity every caller is the same user, so it listens on loopback only.

    A flag goes before the variable DRYSTONE_SETTING, this before the file, this before the default; httpapi/README.md
    lists every setting.

    SIGTERM or Ctrl-C stops it: running requests may finish, for 30 seconds by default. A second signal ends it at
    once; nothing that was acknowledged is lost either way.
    """
    # The server's parts are heavy; `drystone --help` must not load them.
    from blockstore.errors import BlockstoreError, StoreUnavailable
    from catalog.model.errors import CatalogError
    from httpapi.bootstrap import run
    from httpapi.settings import SettingsRefused, load

    try:
        run(load(config=config, flags={"data": data, "listen": listen, "log_level": log_level}))
    except (OSError, StoreUnavailable) as error:
        raise click.ClickException(f"{error}: put this right, or choose another data directory with --data.") from error
    except (BlockstoreError, CatalogError, SettingsRefused) as error:
        raise click.ClickException(str(error)) from error
