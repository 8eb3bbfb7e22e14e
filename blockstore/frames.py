"""One block as one zstd frame. The one home of zstandard.

Level 1, with content size and checksum: so plain `zstd -d` notices damage too. Compressors are reused, one a
thread (`multi_compress_to_buffer` was slower than a loop).
"""

from __future__ import annotations

import threading
from typing import Final, TypeAlias

import zstandard

from blockstore.errors import Damaged

Bytes: TypeAlias = "bytes | bytearray | memoryview"
CODEC_ZSTD: Final = 1
LEVEL: Final = 1
LARGEST_WINDOW: Final = 8 * 1024 * 1024


class _Tools(threading.local):
    """A thread's own compressor and decompressor."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)


_tools = _Tools()


def compress(block: Bytes) -> bytes:
    """The frame of `block`."""
    return _tools.compressor.compress(block)


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
