"""Delta uploads as a client makes them: streams of blocks, and one whole upload over HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blockstore import frames
from blockstore.digest import digest
from blockstore.packs.pack_format import make_entry
from blockstore.sent_blocks import NumberRange, SentHeld
from httpapi.wire.block_stream import MEDIA_TYPE, block_head, held_item, holes_item

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.kit.running_server import Answer
    from tests.kit.two_projects import User

BLOCKS_TYPE = {"Content-Type": MEDIA_TYPE}


def entry(block: bytes, frame: bytes | None = None, *, name: bytes | None = None, length: int | None = None) -> bytes:
    """A block's entry; `frame`, `name` and `length` are lies."""
    made = make_entry(
        digest(block) if name is None else name,
        len(block) if length is None else length,
        frames.compress(block) if frame is None else frame,
    )
    return made.header + bytes(made.data)


def item(number: int, block: bytes) -> bytes:
    """A block in a stream."""
    return raw_item(number, entry(block))


def raw_item(number: int, sent: bytes) -> bytes:
    return block_head(number, len(sent)) + sent


def holes(first: int, count: int = 1) -> bytes:
    return holes_item(NumberRange(first, count))


def held(first: int, count: int, image: str, there: int) -> bytes:
    return held_item(SentHeld(NumberRange(first, count), image, there))


def blocks_of(data: bytes, size: int) -> dict[int, bytes]:
    return {number: data[number * size : (number + 1) * size] for number in range(-(-len(data) // size))}


@dataclass(frozen=True, slots=True)
class SentDelta:
    """A delta upload under way."""

    user: User
    image: str
    id: str

    @classmethod
    def begin(cls, user: User, size: int, *, image: str = "", **how: object) -> SentDelta:
        image = image or user.new_image()
        answer = user.call("POST", f"/v2/images/{image}/deltas", json_body={"size": size, **how})
        assert answer.status == 201, answer.body
        return cls(user, image, answer.json["id"])

    @property
    def path(self) -> str:
        return f"/v2/images/{self.image}/deltas/{self.id}"

    def by(self, user: User) -> SentDelta:
        """The same upload, asked for by somebody else."""
        return SentDelta(user, self.image, self.id)

    def put(self, *items: bytes) -> Answer:
        return self.user.call("PUT", f"{self.path}/blocks", b"".join(items), BLOCKS_TYPE)

    def send(self, blocks: Iterable[tuple[int, bytes]]) -> None:
        """Send blocks, which must be taken."""
        answer = self.put(*(item(number, block) for number, block in blocks))
        assert answer.status == 204, answer.body

    def show(self) -> Any:
        answer = self.user.call("GET", self.path)
        assert answer.status == 200, answer.body
        return answer.json

    def arrived(self) -> list[list[int]]:
        found: list[list[int]] = self.show()["arrived"]
        return found

    def commit(self, blocks: int | None = None) -> Answer:
        body = {} if blocks is None else {"blocks": blocks}
        return self.user.call("POST", f"{self.path}/commit", json.dumps(body).encode())

    def finish(self, blocks: int | None = None) -> str:
        """Commit, which must succeed; the image's id."""
        answer = self.commit(blocks)
        assert answer.status == 200, answer.body
        assert answer.json["status"] == "active"
        return self.image
