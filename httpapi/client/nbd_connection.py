"""One connection to an NBD server: what reading needs of the protocol.

That is github.com/NetworkBlockDevice/nbd, doc/proto.md: fixed newstyle negotiation with NBD_OPT_GO. With servers that
can: structured replies, in which holes take no bytes, and the maps that are asked for by name, such as
`base:allocation`. With others: simple replies, and no maps.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from httpapi.client.errors import SourceRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS: Final = 60.0
ALLOCATION: Final = "base:allocation"
DEPTH: Final = "qemu:allocation-depth"
"""QEMU's map of where a chain of files has its bytes: 1 in the top one, 2 in the next, 0 in none."""
ZEROS: Final = 2
"""The bit of `base:allocation` that says that reading gives zeros."""
_LONGEST_REPLY: Final = 1 << 16
_LONGEST_MAP: Final = 8 << 20
_GREETING: Final = b"NBDMAGICIHAVEOPT"
_OPTION: Final = struct.Struct(">8sII")
_OPTION_REPLY: Final = struct.Struct(">QIII")
_REQUEST: Final = struct.Struct(">IHHQQI")
_MAGIC: Final = struct.Struct(">I")
_SIMPLE: Final = struct.Struct(">IQ")
_CHUNK: Final = struct.Struct(">HHQI")
_FLAGS: Final = 3
_OPT_GO: Final = 7
_OPT_STRUCTURED: Final = 8
_OPT_CONTEXTS: Final = 10
_REP_ACK: Final = 1
_REP_INFO: Final = 3
_REP_CONTEXT: Final = 4
_REP_ERROR: Final = 1 << 31
_INFO_EXPORT: Final = 0
_REPLY_MAGIC: Final = 0x3E889045565A9
_REQUEST_MAGIC: Final = 0x25609513
_SIMPLE_MAGIC: Final = 0x67446698
_CHUNK_MAGIC: Final = 0x668E33EF
_READ: Final = 0
_DISCONNECT: Final = 2
_STATUS: Final = 7
_DONE: Final = 1
_NONE: Final = 0
_DATA: Final = 1
_HOLE: Final = 2
_MAP: Final = 5
_ERROR: Final = 1 << 15


class Unanswered(SourceRefused):
    """The server refuses a request; the connection goes on."""


class Connection:
    """One that is negotiated. `size` in bytes is the export's; `maps` are those of `wanted` that the server has.

    SourceRefused for whatever fails, which calls the export `name`.
    """

    def __init__(self, connected: socket.socket, export: str, name: str, wanted: Sequence[str] = ()) -> None:
        self._name = name
        self._cookie = 0
        self._socket = connected
        self._maps: dict[int, str] = {}
        try:
            self._greet()
            if wanted and self._ask(_OPT_STRUCTURED, b"") is not None:
                self._ask_for_maps(export.encode(), wanted)
            self.size = self._go(export.encode())
            connected.settimeout(SECONDS)
        except BaseException:
            connected.close()
            raise

    @property
    def maps(self) -> frozenset[str]:
        """By name."""
        return frozenset(self._maps.values())

    def read(self, piece: memoryview, offset: int) -> None:
        """Fills `piece` with the bytes from `offset` on."""
        self._request(_READ, offset, len(piece))
        left, done = len(piece), False
        while not done:
            kind, length, done = self._reply(offset, len(piece))
            if kind == _DATA:
                at = length and int.from_bytes(self._receive(8), "big") - offset
                self._receive_into(self._part(piece, at, length - 8))
                left -= length - 8
            elif kind == _HOLE and length == 12:
                start, size = struct.unpack(">QI", self._receive(12))
                part = self._part(piece, start - offset, size)
                part[:] = bytes(size)
                left -= size
            elif kind == _SIMPLE_MAGIC:
                self._receive_into(piece)
                left = 0
            elif kind != _NONE:
                raise self._odd()
        if left:
            raise self._odd()

    def status(self, offset: int, length: int) -> dict[str, list[tuple[int, int]]]:
        """For each map (length, flags) from `offset` on, of a part of these bytes or more than them.

        Unanswered where the server does not tell.
        """
        self._request(_STATUS, offset, length)
        found: dict[str, list[tuple[int, int]]] = {}
        done = False
        while not done:
            kind, size, done = self._reply(offset, length)
            if kind == _MAP and size % 8 == 4 and size <= _LONGEST_MAP:
                which = int.from_bytes(self._receive(4), "big")
                rows = list(struct.iter_unpack(">II", self._receive(size - 4)))
                if which in self._maps:
                    found[self._maps[which]] = rows
            elif kind != _NONE:
                raise self._odd()
        return found

    def shut(self) -> None:
        """Whoever waits in a read of it meets its end."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Takes its leave."""
        # It may be gone already.
        with suppress(OSError):
            self._socket.sendall(_REQUEST.pack(_REQUEST_MAGIC, 0, _DISCONNECT, 0, 0, 0))
        self._socket.close()

    def _greet(self) -> None:
        if self._receive(len(_GREETING)) != _GREETING:
            raise SourceRefused(f"{self._name} answers, but not as an NBD server of today")
        self._receive(2)
        self._send(struct.pack(">I", _FLAGS))

    def _request(self, what: int, offset: int, length: int) -> None:
        self._cookie += 1
        self._send(_REQUEST.pack(_REQUEST_MAGIC, 0, what, self._cookie, offset, length))

    def _reply(self, offset: int, length: int) -> tuple[int, int, bool]:
        """The kind of the next part of a reply, its length, whether it is the last; Unanswered for an error."""
        (magic,) = _MAGIC.unpack(self._receive(_MAGIC.size))
        if magic == _SIMPLE_MAGIC:
            error, cookie = _SIMPLE.unpack(self._receive(_SIMPLE.size))
            if cookie != self._cookie:
                raise self._odd()
            if error:
                raise Unanswered(f"cannot read {self._name} at byte {offset}: its error {error}")
            return _SIMPLE_MAGIC, length, True
        if magic != _CHUNK_MAGIC:
            raise self._odd()
        flags, kind, cookie, size = _CHUNK.unpack(self._receive(_CHUNK.size))
        if cookie != self._cookie:
            raise self._odd()
        if not kind & _ERROR:
            return kind, size, bool(flags & _DONE)
        if not 6 <= size <= _LONGEST_REPLY:
            raise self._odd()
        told = self._receive(size)
        words = told[6 : 6 + int.from_bytes(told[4:6], "big")].decode(errors="replace")
        # What follows an error is not worth reading: whoever gets a SourceRefused drops the connection.
        kind_of = Unanswered if flags & _DONE else SourceRefused
        number = int.from_bytes(told[:4], "big")
        raise kind_of(f"cannot read {self._name} at byte {offset}: {words or f'its error {number}'}")

    def _part(self, piece: memoryview, start: int, length: int) -> memoryview:
        if start < 0 or length <= 0 or start + length > len(piece):
            raise self._odd()
        return piece[start : start + length]

    def _ask_for_maps(self, export: bytes, wanted: Sequence[str]) -> None:
        asked = struct.pack(">I", len(export)) + export + struct.pack(">I", len(wanted))
        asked += b"".join(struct.pack(">I", len(each)) + each.encode() for each in wanted)
        for data in self._ask(_OPT_CONTEXTS, asked) or ():
            name = data[4:].decode(errors="replace")
            if name in wanted:
                self._maps[int.from_bytes(data[:4], "big")] = name

    def _ask(self, option: int, asked: bytes) -> list[bytes] | None:
        """What the server says to an option, None if it does not have it."""
        self._send(_OPTION.pack(b"IHAVEOPT", option, len(asked)) + asked)
        found: list[bytes] = []
        while True:
            kind, data = self._option_reply(option)
            if kind == _REP_ACK:
                return found
            if kind & _REP_ERROR:
                return None
            if kind == _REP_CONTEXT and len(data) > 4:
                found.append(data)

    def _go(self, export: bytes) -> int:
        """The export's size in bytes."""
        asked = struct.pack(">I", len(export)) + export + struct.pack(">H", 0)
        self._send(_OPTION.pack(b"IHAVEOPT", _OPT_GO, len(asked)) + asked)
        size: int | None = None
        while True:
            kind, data = self._option_reply(_OPT_GO)
            if kind == _REP_ACK and size is not None:
                return size
            if kind == _REP_INFO and len(data) >= 12 and data[:2] == struct.pack(">H", _INFO_EXPORT):
                size = int.from_bytes(data[2:10], "big")
            elif kind != _REP_INFO:
                told = data.decode(errors="replace")[:200] or f"its error {kind & 0xFFFF}"
                raise SourceRefused(f"{self._name} is not to be had: {told}")

    def _option_reply(self, asked: int) -> tuple[int, bytes]:
        magic, option, kind, length = _OPTION_REPLY.unpack(self._receive(_OPTION_REPLY.size))
        if magic != _REPLY_MAGIC or option != asked or length > _LONGEST_REPLY:
            raise self._odd()
        return kind, self._receive(length)

    def _odd(self) -> SourceRefused:
        return SourceRefused(f"{self._name} answers, but not as NBD has it")

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as failure:
            raise self._broken(failure) from failure

    def _receive(self, length: int) -> bytes:
        data = bytearray(length)
        self._receive_into(memoryview(data))
        return bytes(data)

    def _receive_into(self, piece: memoryview) -> None:
        while piece:
            try:
                count = self._socket.recv_into(piece)
            except OSError as failure:
                raise self._broken(failure) from failure
            if not count:
                raise SourceRefused(f"{self._name} has closed the connection")
            piece = piece[count:]

    def _broken(self, failure: OSError) -> SourceRefused:
        return SourceRefused(f"cannot read {self._name}: {failure.strerror or failure}")
