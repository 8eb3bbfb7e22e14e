"""`drystone vm`: backups of virtual machines that run."""

from __future__ import annotations

from typing import Final

import click

from httpapi.cli.vm.backup import backup
from httpapi.cli.vm.ls import ls
from httpapi.cli.vm.restore import restore

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone vm backup web                             (a domain of libvirt's)
  drystone vm backup --qmp /run/vm/qmp --name web
  drystone vm ls web
  drystone vm restore web --to /var/lib/libvirt/images/web-again
  drystone forget web-vda --keep-daily 7 --yes       (old nights, disk by disk)
"""


@click.group(epilog=EXAMPLES)
def vm() -> None:
    """Back up virtual machines that run, by libvirt or by QEMU itself, and bring them back.

    Each backup makes one image a disk, all of one moment, and reads only what was written since the last one.
    """


for _verb in (backup, restore, ls):
    vm.add_command(_verb)
