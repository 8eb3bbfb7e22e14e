"""`drystone admin`: looking after a data directory, on the machine where it is."""

from __future__ import annotations

from typing import Final

import click

from httpapi.cli.admin.chown import chown
from httpapi.cli.admin.gc import gc
from httpapi.cli.admin.host_verb import HostVerbs
from httpapi.cli.admin.metadefs import metadefs
from httpapi.cli.admin.quota import quota
from httpapi.cli.admin.rebuild_index import rebuild_index
from httpapi.cli.admin.repair import repair
from httpapi.cli.admin.scrub import scrub
from httpapi.cli.admin.stats import stats
from httpapi.cli.admin.url_keys import url_keys
from httpapi.cli.admin.verify import verify

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin stats --data /srv/images
  drystone admin verify --data /srv/images
  drystone admin verify --data /srv/images --read-data --rate 100MiB
  drystone admin scrub --data /srv/images
  drystone admin repair --data /srv/images --from /backup/debian-12.raw
  drystone admin gc --data /srv/images --dry-run
  drystone admin chown --data /srv/images --from default --to lab
  drystone admin quota set lab --bytes 2TiB --data /srv/images
  drystone admin metadefs load /etc/glance/metadefs --data /srv/images
  drystone admin url-keys ls --data /srv/images

\b
With every server and worker stopped:
  drystone admin rebuild-index --data /srv/images
"""


@click.group(cls=HostVerbs, epilog=EXAMPLES)
def admin() -> None:
    """Look after the data: count it, verify it, mend it, give back the space of deleted images, make the index again.

    And say how much each project may have, what properties mean, and which keys sign URLs. These verbs work on the data
    directory itself, on its machine, as the user whom it belongs to. What is wrong makes the exit code 1, so that a
    timer can tell. A server scrubs and collects by itself.
    """


for _verb in (stats, verify, scrub, repair, gc, chown, quota, metadefs, url_keys, rebuild_index):
    admin.add_command(_verb)
