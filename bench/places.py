"""Where the checkout is and how its program is started."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CLIENTS = ROOT / ".clients"  # made by `make clients`: the stock OpenStack clients


def drystone() -> list[str]:
    """The command line of this checkout; the console script where it is installed, else the same function."""
    script = Path(sys.executable).with_name("drystone")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "import sys; from httpapi.cli.root import main; sys.exit(main())"]


def free_port() -> int:
    """A TCP port on loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
