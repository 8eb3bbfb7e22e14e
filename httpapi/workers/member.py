"""`python -m httpapi.workers.member DESCRIPTOR`: one worker, started by the supervisor and by nobody else.

A fresh interpreter, never a fork: an LMDB environment must not cross one, nor may threads that hold locks.
"""

from __future__ import annotations

import shutil
import signal
import socket
import sys

from httpapi.metrics.place import settle
from httpapi.refusals import REFUSALS, sentence_of
from httpapi.workers.link import Dismissed, Link


def main(descriptor: int) -> int:
    """Serve until told to stop; the exit code."""
    # Until the loop takes them over: who stops the service while it starts must see no trace of an interruption.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    with socket.socket(fileno=descriptor) as connection:
        # What this process starts itself must not keep the connection open.
        connection.set_inheritable(False)
        try:
            link = Link.open(connection)
        except Dismissed:
            return 0
        try:
            return _serve(link)
        finally:
            if link.orphaned and link.place.directory is not None:
                # Who made it cannot remove it any more.
                shutil.rmtree(link.place.directory, ignore_errors=True)


def _serve(link: Link) -> int:
    settle(link.place)
    # Where figures are kept is decided above, before anything counts.
    from httpapi.bootstrap import run

    try:
        run(link.settings, link)
    except Dismissed:
        return 0
    except REFUSALS as refusal:
        link.refused(sentence_of(refusal))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
