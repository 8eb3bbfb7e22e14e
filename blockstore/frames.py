"""One block as one zstd frame. The one home of zstandard.

Level 1, with content size and checksum: so plain `zstd -d` notices damage too. Compressors are reused, one a
thread (`multi_compress_to_buffer` was slower than a loop).
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Final, TypeAlias

import zstandard

from blockstore.errors import Damaged

if TYPE_CHECKING:
    from collections.abc import Iterator

Bytes: TypeAlias = "bytes | bytearray | memoryview"
CODEC_ZSTD: Final = 1
LEVEL: Final = 1
LONGEST_ZEROS: Final = 4 * 1024 * 1024
LONGEST_ZERO_FRAME: Final = 256
"""Bytes that no frame of zeros reaches: those of LONGEST_ZEROS have 151, and an odd tail costs a few more."""
FRAME_HEADER: Final = 18
"""Bytes of the longest frame header (RFC 8878, 3.1.1.1), the magic included."""
SKIPPABLE: Final = (0x184D2A5D).to_bytes(4, "little")
LARGEST_WINDOW: Final = 8 * 1024 * 1024
_SKIPPABLE_HEADER: Final = 8
_BLOCK_HEADER: Final = 3
_RUN: Final = 1
"""The block type that is one byte, repeated."""


class _Tools(threading.local):
    """A thread's own compressor and decompressor."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)


_tools = _Tools()


def compress(block: Bytes) -> bytes:
    """The frame of `block`."""
    return _tools.compressor.compress(block)


@functools.lru_cache(maxsize=64)
def zeros(length: int) -> bytes:
    """The frame of so many zeros, at most LONGEST_ZEROS; those that were asked for lately are kept (151 bytes each)."""
    return compress(bytes(length))


def zero_frames(length: int) -> Iterator[bytes]:
    """Frames of `length` zeros in all, at most LONGEST_ZEROS each."""
    while length:
        part = min(length, LONGEST_ZEROS)
        yield zeros(part)
        length -= part


def decompress(frame: Bytes, raw_length: int) -> bytes:
    """The bytes of a frame that must hold exactly `raw_length` bytes; anything else is Damaged.

    The lengths in the frame's own header are compared first: the library would allocate whatever they claim, and
    would pass over a second frame in silence.
    """
    try:
        claims = zstandard.get_frame_parameters(frame)
        if claims.content_size != raw_length:
            raise Damaged(f"a frame claims {claims.content_size} bytes where a block has {raw_length}")
        if not claims.has_checksum or claims.dict_id or claims.window_size > LARGEST_WINDOW:
            raise Damaged("a frame has no checksum, needs a dictionary or a window of more than 8 MiB")
        return _tools.decompressor.decompress(frame, max_output_size=raw_length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damaged(f"a frame cannot be decompressed: {error}") from error


def decompress_run(run: Bytes, room: memoryview) -> None:
    """Fill `room` with the bytes of the frames in `run`, one after another; skippable frames are passed over. Damaged.

    For many blocks at a time, each of which is compared with its hash afterwards: the frames' own headers are not
    looked at, but nothing is written beyond `room`, and a window beyond 8 MiB is refused.
    """
    try:
        reader = _tools.decompressor.stream_reader(run, read_across_frames=True)
        filled = 0
        while filled < len(room):
            got = reader.readinto(room[filled:])
            if not got:
                raise Damaged(f"frames that should hold {len(room)} bytes hold {filled}")
            filled += got
    except zstandard.ZstdError as error:
        raise Damaged(f"a frame cannot be decompressed: {error}") from error


class FrameStream:
    """Frames that arrive in pieces of any length, back to bytes: what `drystone pull` gets as application/zstd.

    Every frame must state its length, at most `longest` bytes, and is unpacked when all of it is there. So memory is
    bounded whatever the sender sends: the library compares what a frame unpacks to with its claim only at the end, and
    a few kilobytes can become gigabytes until then. Skippable frames are passed over. Raises Damaged.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._most = longest + longest // 128 + 1024
        self._held = bytearray()
        self._skip = 0
        self._claimed = 0
        self._sum = 0
        self._known = 0
        self._ended = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bytes that are whole now, a frame's at a time."""
        self._held += data
        while self._begins() and self._is_whole():
            frame = bytes(self._held[: self._known])
            del self._held[: self._known]
            self._known, self._ended = 0, False
            try:
                block = _tools.decompressor.decompress(frame, max_output_size=self._claimed, allow_extra_data=False)
            except zstandard.ZstdError as error:
                raise Damaged(f"a frame that arrived cannot be decompressed: {error}") from error
            if block:
                yield block

    def finish(self) -> None:
        """Raises Damaged if the last frame has not ended."""
        if self._skip or self._held:
            raise Damaged("the last frame that arrived has no end")

    def _begins(self) -> bool:
        """Whether a frame begins here; skippable ones are dropped as they come, whatever length they state."""
        while True:
            passed = min(self._skip, len(self._held))
            del self._held[:passed]
            self._skip -= passed
            if self._skip or len(self._held) < _SKIPPABLE_HEADER:
                return False
            if self._held[:4] != SKIPPABLE:
                return True
            self._skip = _SKIPPABLE_HEADER + int.from_bytes(self._held[4:_SKIPPABLE_HEADER], "little")

    def _is_whole(self) -> bool:
        """Whether the frame here is all there; goes along its block headers (RFC 8878, 3.1.1.2) as far as they came."""
        if not self._known and not self._may_begin(bytes(self._held[:FRAME_HEADER])):
            return False
        while not self._ended:
            follows = self._known + _BLOCK_HEADER
            if len(self._held) < follows:
                return False
            header = int.from_bytes(self._held[self._known : follows], "little")
            self._ended = bool(header & 1)
            self._known = follows + (1 if header >> 1 & 3 == _RUN else header >> 3) + (self._sum if self._ended else 0)
            if self._known > self._most:
                raise Damaged(f"a frame that arrived is longer than one of {self._longest} bytes can be")
        return len(self._held) >= self._known

    def _may_begin(self, head: bytes) -> bool:
        """Whether `head` holds a frame's whole header, and what it states can be: else wait for more."""
        try:
            claims = zstandard.get_frame_parameters(head)
            self._known = zstandard.frame_header_size(head)
        except zstandard.ZstdError as error:
            if len(head) < FRAME_HEADER:
                return False
            raise Damaged(f"what arrived is no zstd frame: {error}") from error
        if claims.content_size > self._longest:
            raise Damaged(f"a frame that arrived states {claims.content_size} bytes, more than a block has")
        self._claimed, self._sum = claims.content_size, 4 if claims.has_checksum else 0
        return True
