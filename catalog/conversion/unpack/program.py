"""What the program does, from its first line to its last: what it found is one JSON object on standard error.

`{"compression": NAME, "size": BYTES}`, or `{"refused": SENTENCE}`, or `{"full": true}` when the disk is.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from catalog.conversion.unpack import zip_file
from catalog.conversion.unpack.packed import Packed, Refused
from catalog.conversion.unpack.sparse import Sparse
from catalog.conversion.unpack.streams import GZIP, XZ, ZSTD, ZSTD_SKIPPABLE, gunzipped, unxzed, unzstded

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN, _OUT = 0, 1
_MAGIC: Final = 8
_PR_SET_PDEATHSIG: Final = 1


def main(arguments: list[str]) -> None:
    """Unpack to at most so many bytes as the first argument says, as the user and group of the other two."""
    cap, user, group = (int(each) for each in arguments)
    # By now all is loaded that the service's own user alone may be able to read.
    if user:
        parent = os.getppid()
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
        _die_with(parent)
    sys.stderr.write(json.dumps(unpack(_IN, _OUT, cap=cap)))


def _die_with(parent: int) -> None:
    """Be killed when the parent dies, prctl(2): the kernel forgets that when a process becomes another user."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        # It died in between.
        sys.exit(1)


def unpack(source: int, target_file: int, *, cap: int) -> dict[str, object]:
    """Unpack one open file to another, which is empty; what came of it."""
    try:
        compression, pieces = _opened(source, cap)
        target = Sparse(target_file, cap=cap)
        for piece in pieces:
            target.write(piece)
        return {"compression": compression, "size": target.close()}
    except Refused as refusal:
        return {"refused": str(refusal)}
    except MemoryError:
        return {"refused": "The compressed file needs more memory to be unpacked than it may take."}
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        return {"full": True}


def _opened(source: int, cap: int) -> tuple[str, Iterator[bytes]]:
    magic = os.pread(source, _MAGIC, 0)
    number = int.from_bytes(magic[:4], "little")
    if magic.startswith(GZIP):
        return "gzip", gunzipped(Packed(source))
    if magic.startswith(XZ):
        return "xz", unxzed(Packed(source))
    if magic.startswith(ZSTD) or ZSTD_SKIPPABLE[0] <= number <= ZSTD_SKIPPABLE[1]:
        return "zstd", unzstded(Packed(source))
    if magic.startswith((zip_file.MAGIC, zip_file.EMPTY)):
        member = zip_file.only_member(source)
        if member.size > cap:
            raise Refused(f"The file in the zip is {member.size} bytes long, and may have {cap} here.")
        return "zip", zip_file.unzipped(source, member)
    raise Refused(
        "The file is not compressed, or in no way that is known here: it must be gzip, xz, zstd, or a zip of one file."
    )
