"""Delta uploads by those who lie: each a clear refusal, nothing kept, no memory given, nothing told of others."""

from __future__ import annotations

import random
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import xxhash
import zstandard

from blockstore import frames
from blockstore.manifest_copies import copies_of
from catalog.model.image import Status, Visibility
from httpapi.wire.block_stream import HEAD, block_head
from tests.kit.sent_deltas import BLOCKS_TYPE, SentDelta, entry, held, holes, item, raw_item
from tests.kit.two_projects import two_projects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.ports import UnitOfWork
    from tests.kit.two_projects import TwoProjects

BLOCK = 4096
GOOD = random.Random(5).randbytes(BLOCK)
TEXT = b"each stone fits " * (BLOCK // 16)
NOBODYS = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[TwoProjects]:
    with two_projects(tmp_path) as running:
        yield running


def rss() -> int:
    """Bytes of this process that are in memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10


def frame(block: bytes, *, checksum: bool = True, length: bool = True) -> bytes:
    made = zstandard.ZstdCompressor(level=1, write_checksum=checksum, write_content_size=length)
    return made.compress(block)


def by_hand(block: bytes, *, claims: int, window: int | None = None, runs: int = 0, empty: int = 0) -> bytes:
    """A frame that states `claims` bytes; `window` bytes by its descriptor; `runs` of 128 KiB; `empty` blocks."""
    head = b"\x28\xb5\x2f\xfd" + bytes([0x80 | (0x20 if window is None else 0) | 0x04])
    if window is not None:
        head += bytes([window.bit_length() - 11 << 3])
    head += struct.pack("<I", claims)
    body = [struct.pack("<I", 0)[:3]] * empty
    body += [struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"x"] * runs
    body.append(struct.pack("<I", len(block) << 3 | 1)[:3] + block)
    return head + b"".join(body) + struct.pack("<I", xxhash.xxh64_intdigest(block) & 0xFFFFFFFF)


DICTIONARY = zstandard.ZstdCompressionDict(GOOD[:1000], dict_type=zstandard.DICT_TYPE_RAWCONTENT)
FLIPPED = bytearray(frame(b"abcd" * 1024))
FLIPPED[-1] ^= 1

LIES = {
    "a header that says another length": entry(GOOD, length=BLOCK - 1),
    "a shorter block": entry(GOOD[:-1]),
    "a longer block": entry(GOOD + b"x"),
    "another digest": entry(GOOD, name=bytes(range(32))),
    "no digest": entry(GOOD, name=bytes(32)),
    "two frames": entry(TEXT, frame(TEXT) * 2),
    "two halves": entry(GOOD, frame(GOOD[:2048]) + frame(GOOD[2048:])),
    "a skippable frame before": entry(GOOD, b"\x5d\x2a\x4d\x18\x02\0\0\0xx" + frame(GOOD)),
    "a skippable frame alone": entry(GOOD, b"\x5d\x2a\x4d\x18" + struct.pack("<I", BLOCK) + GOOD),
    "a byte behind": entry(GOOD, frame(GOOD) + b"\0"),
    "a frame that was cut off": entry(GOOD, frame(GOOD)[:-5]),
    "a frame without a checksum": entry(GOOD, frame(GOOD, checksum=False)),
    "a frame without its length": entry(GOOD, frame(GOOD, length=False)),
    "a wrong checksum": entry(b"abcd" * 1024, bytes(FLIPPED)),
    "a window of 16 MiB": entry(GOOD, by_hand(GOOD, claims=BLOCK, window=16 << 20)),
    "a frame that unpacks to more": entry(GOOD, by_hand(GOOD, claims=BLOCK, runs=200)),
    "a frame that says gigabytes": entry(GOOD, by_hand(GOOD, claims=2**32 - 1)),
    "a frame that says nothing": entry(GOOD, by_hand(b"", claims=0)),
    "no frame": entry(GOOD, GOOD),
    "nothing": entry(GOOD, b""),
    "half a header": entry(GOOD)[:40],
    "another entry's header": entry(GOOD)[:76] + frame(GOOD[::-1]),
    "a flipped bit in the header": bytes([*entry(GOOD)[:20], entry(GOOD)[20] ^ 1, *entry(GOOD)[21:]]),
    "a dictionary": entry(
        GOOD, zstandard.ZstdCompressor(level=1, write_checksum=True, dict_data=DICTIONARY).compress(GOOD)
    ),
}


def test_the_frames_made_by_hand_are_frames_but_for_their_lie() -> None:
    assert frames.decompress(by_hand(GOOD, claims=BLOCK), BLOCK) == GOOD


@pytest.mark.parametrize("lie", LIES)
def test_a_block_that_is_not_what_it_says_is_refused_by_number_and_nothing_is_kept(
    served: TwoProjects, lie: str
) -> None:
    delta = SentDelta.begin(served.ann, 10 * BLOCK, block_size=BLOCK)
    rows = served.store.index.size().rows
    answer = delta.put(item(1, GOOD), raw_item(7, LIES[lie]))
    assert (answer.status, answer.code) == (400, "block-refused"), answer.body
    assert answer.headers["x-drystone-blocks"] == "7-7"
    assert "Block 7 is refused: " in answer.json["message"]
    assert delta.arrived() == []
    assert served.store.index.size().rows == rows
    # The upload goes on.
    assert delta.put(item(7, GOOD)).status == 204


def test_a_frame_that_is_longer_than_its_block_can_need_is_refused(served: TwoProjects) -> None:
    delta = SentDelta.begin(served.ann, BLOCK + 100, block_size=BLOCK)
    padded = by_hand(GOOD[:100], claims=100, empty=400)
    assert frames.decompress(padded, 100) == GOOD[:100]
    answer = delta.put(raw_item(1, entry(GOOD[:100], padded)))
    assert (answer.status, answer.code) == (400, "block-refused")
    assert delta.put(item(1, GOOD[:100])).status == 204


def test_frames_that_would_unpack_to_gigabytes_take_no_memory(served: TwoProjects) -> None:
    size = 4 << 20
    delta = SentDelta.begin(served.ann, 64 * size, block_size=size)
    delta.put(raw_item(0, entry(b"x" * size)))
    before = rss()
    for number in range(1, 20):
        bomb = by_hand(b"x", claims=size, runs=500_000)
        answer = delta.put(raw_item(number, entry(b"x" * size, bomb)))
        assert (answer.status, answer.code) == (400, "block-refused")
    # Sender and server are one process here, and each frame says 64 GB.
    assert rss() - before < 128 << 20
    assert delta.arrived() == [[0, 1]]


def test_small_frames_of_long_blocks_are_counted_by_what_they_unpack_to(served: TwoProjects) -> None:
    size = 4 << 20
    delta = SentDelta.begin(served.ann, 1000 * size, block_size=size)
    small = entry(bytes(size))
    before = rss()
    answer = delta.put(*(raw_item(number, small) for number in range(257)))
    assert (answer.status, answer.code) == (413, "limit-exceeded")
    assert rss() - before < 64 << 20


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (item(3, GOOD) + item(2, GOOD), "bad-block-stream"),
        (item(3, GOOD) * 2, "bad-block-stream"),
        (holes(0, 5) + item(4, GOOD), "bad-block-stream"),
        (item(10, GOOD), "bad-block-stream"),
        (item(2**32 - 1, GOOD), "bad-block-stream"),
        (holes(0, 11), "bad-block-stream"),
        (holes(5, 2**32 - 1), "bad-block-stream"),
        (held(5, 6, NOBODYS, 0), "bad-block-stream"),
        (HEAD.pack(1, b"\0\0\0", 0, 1, 2**32 - 1), "bad-block-stream"),
        (HEAD.pack(7, b"\0\0\0", 0, 1, 0), "bad-block-stream"),
        (item(3, GOOD)[:-1], "bad-block-stream"),
        (block_head(0, 100)[:7], "bad-block-stream"),
        (b"GET / HTTP/1.1\r\n\r\n", "bad-block-stream"),
        (held(0, 1, NOBODYS, 2**32 - 1), "block-refused"),
    ],
)
def test_overlapping_unsorted_huge_and_broken_streams_are_refused(
    served: TwoProjects, stream: bytes, code: str
) -> None:
    delta = SentDelta.begin(served.ann, 10 * BLOCK, block_size=BLOCK)
    answer = delta.put(stream)
    assert (answer.status, answer.code) == (400, code), answer.body
    assert delta.arrived() == []


def test_more_than_a_request_may_have_is_refused(served: TwoProjects) -> None:
    delta = SentDelta.begin(served.ann, 10**6 * BLOCK, block_size=BLOCK)
    image = served.ann.put_image(bytes(20_000 * BLOCK))
    assert delta.put(held(0, 16_385, image, 0)).code == "limit-exceeded"
    assert delta.put(*(holes(2 * number) for number in range(16_385))).code == "limit-exceeded"
    others = (f"{number:08}-2222-3333-4444-555555555555" for number in range(17))
    assert delta.put(*(held(number, 1, other, 0) for number, other in enumerate(others))).status == 400
    answer = served.ann.call("PUT", f"{delta.path}/blocks", bytes((64 << 20) + 1), BLOCKS_TYPE)
    assert (answer.status, answer.code) == (413, "body-too-large")
    assert delta.put(held(0, 16_384, image, 0)).status == 204


def test_the_wrong_type_is_refused_unread(served: TwoProjects) -> None:
    delta = SentDelta.begin(served.ann, BLOCK, block_size=BLOCK)
    for headers in ({}, {"Content-Type": "application/octet-stream"}, BLOCKS_TYPE | {"Content-Encoding": "gzip"}):
        assert served.ann.call("PUT", f"{delta.path}/blocks", item(0, GOOD), headers).status == 415


def test_the_same_number_with_other_bytes_is_a_conflict_and_changes_nothing(served: TwoProjects) -> None:
    delta = SentDelta.begin(served.ann, 10 * BLOCK, block_size=BLOCK)
    delta.send([(3, GOOD)])
    assert delta.put(holes(5, 2)).status == 204
    for stream in (item(3, GOOD[::-1]), item(5, GOOD), holes(0, 4), holes(3)):
        answer = delta.put(item(2, GOOD), stream) if stream[4] > 2 else delta.put(stream)
        assert (answer.status, answer.code) == (409, "block-conflict"), answer.body
    assert delta.arrived() == [[3, 1], [5, 2]]
    assert delta.put(item(3, GOOD), holes(4, 3)).status == 204
    assert served.ann.bytes_of(delta.finish(4)) == bytes(3 * BLOCK) + GOOD + bytes(6 * BLOCK)


def test_blocks_of_images_that_are_not_mine_are_refused_as_those_of_no_image(served: TwoProjects) -> None:
    theirs = served.bob.put_image(GOOD * 5)
    empty = served.ann.new_image()
    delta = SentDelta.begin(served.ann, 10 * BLOCK, block_size=BLOCK)
    said = set()
    for image in (theirs, NOBODYS, empty, delta.image):
        answer = delta.put(held(1, 2, image, 0))
        assert (answer.status, answer.code) == (400, "block-refused")
        assert answer.headers["x-drystone-blocks"] == "1-2"
        said.add(answer.json["message"].replace(image, "X"))
    mine = served.ann.put_image(GOOD * 5)
    # Numbers that it does not have, and lengths that do not fit, are no other answer either.
    for stream in (held(1, 2, mine, 4), held(1, 2, mine, 5), held(1, 2, mine, 2**32 - 2)):
        said.add(delta.put(stream).json["message"].replace(mine, "X"))
    assert len(said) == 1
    assert delta.arrived() == []
    assert delta.by(served.root).put(held(1, 2, theirs, 0)).status == 204


def test_blocks_of_my_image_whose_files_are_bad_are_to_be_sent(served: TwoProjects, tmp_path: Path) -> None:
    mine = served.ann.put_image(GOOD * 5)
    [manifest] = (tmp_path / "data" / "manifests").rglob("*.manifest")
    kept = manifest.read_bytes()
    delta = SentDelta.begin(served.ann, 10 * BLOCK, block_size=BLOCK)
    bad = SentDelta.begin(served.bob, 10 * BLOCK, block_size=BLOCK)
    for data in (b"", bytes(len(kept)), None):
        for copy in copies_of(manifest):
            copy.unlink() if data is None else copy.write_bytes(data)
        answer = delta.put(held(1, 2, mine, 0))
        assert (answer.status, answer.code) == (409, "block-not-held"), answer.body
        assert answer.headers["x-drystone-blocks"] == "1-2"
        # To others it is no image, whatever is wrong with it.
        assert bad.put(held(1, 2, mine, 0)).code == "block-refused"
        based = served.ann.call(
            "POST", f"/v2/images/{served.ann.new_image()}/deltas", json_body={"size": BLOCK, "base": mine}
        )
        assert (based.status, based.code) == (400, "invalid")
    manifest.write_bytes(kept)
    assert delta.put(held(1, 2, mine, 0)).status == 204


def test_a_base_that_is_not_mine_is_refused_as_one_that_is_not_there(served: TwoProjects) -> None:
    theirs = served.bob.put_image(GOOD)
    image = served.ann.new_image()
    said = set()
    for base in (theirs, NOBODYS, image):
        answer = served.ann.call("POST", f"/v2/images/{image}/deltas", json_body={"size": BLOCK, "base": base})
        assert (answer.status, answer.code) == (400, "invalid")
        said.add(answer.json["message"].replace(base, "X"))
    assert len(said) == 1


def test_what_was_mine_until_it_was_withdrawn_or_deleted_is_mine_no_more(served: TwoProjects) -> None:
    shown = served.root.put_image(GOOD * 5, visibility="public")
    gone = served.ann.put_image(GOOD * 5)
    delta = SentDelta.begin(served.ann, 10 * BLOCK, block_size=BLOCK)
    assert delta.put(held(0, 1, shown, 0), held(1, 1, gone, 1)).status == 204

    def withdraw(uow: UnitOfWork) -> None:
        image = uow.images.get(shown)
        assert image is not None
        image.visibility = Visibility.PRIVATE
        uow.images.save(image, expect=Status.ACTIVE)

    served.server.run(served.server.services.database.write(withdraw))
    assert served.ann.call("DELETE", f"/v2/images/{gone}").status == 204
    for image in (shown, gone):
        assert delta.put(held(2, 1, image, 2)).code == "block-refused"
    # What was taken while it was readable stays.
    assert served.ann.bytes_of(delta.finish(2)) == GOOD * 2 + bytes(8 * BLOCK)


def test_nobody_else_goes_on_with_my_upload(served: TwoProjects) -> None:
    base = served.ann.put_image(GOOD * 10)
    delta = SentDelta.begin(served.ann, 10 * BLOCK, base=base)
    delta.send([(1, GOOD[::-1])])
    own = SentDelta.begin(served.bob, 10 * BLOCK, block_size=BLOCK)
    crossed = SentDelta(served.bob, own.image, delta.id)
    for stranger, status in ((delta.by(served.bob), 404), (crossed, 404), (delta.by(served.rea), 403)):
        user = stranger.user
        assert stranger.put(item(2, GOOD)).status == status
        assert stranger.commit().status == status
        assert user.call("GET", stranger.path).status == status
        assert user.call("DELETE", stranger.path).status == status
        if stranger is not crossed:
            assert user.call("GET", f"/v2/images/{delta.image}/deltas").status == status
            assert user.call("POST", f"/v2/images/{delta.image}/deltas", json_body={"size": 5}).status == status
    for other in ("", "x", "0" * 32, delta.id.upper(), delta.id + "0"):
        answer = served.ann.call("PUT", f"/v2/images/{delta.image}/deltas/{other}/blocks", item(2, GOOD), BLOCKS_TYPE)
        assert answer.status == 404
    assert delta.arrived() == [[1, 1]]
    assert delta.finish(1)


def test_nothing_tells_whether_another_project_has_the_bytes(served: TwoProjects) -> None:
    served.bob.put_image(GOOD)
    answers = []
    for block in (GOOD, GOOD[::-1]):
        delta = SentDelta.begin(served.ann, BLOCK, block_size=BLOCK)
        sent = delta.put(item(0, block))
        shown = {key: value for key, value in delta.show().items() if key not in {"id", "image", "expires_at"}}
        headers = {key: value for key, value in sent.headers.items() if key not in {"Date", "x-openstack-request-id"}}
        image = delta.commit(1).json
        told = {key: image[key] for key in ("status", "size", "os_hash_value", "checksum")}
        answers.append((sent.status, sent.body, headers, shown, told))
    assert answers[0] == answers[1]


def test_nor_does_the_frame_that_is_read_back(served: TwoProjects) -> None:
    theirs = TEXT[::-1]
    served.bob.put_image(theirs)
    for block in (TEXT, theirs):
        odd = by_hand(block, claims=BLOCK)
        assert odd != frames.compress(block)
        delta = SentDelta.begin(served.ann, BLOCK, block_size=BLOCK)
        assert delta.put(raw_item(0, entry(block, odd))).status == 204
        image = delta.finish(1)
        stored = served.ann.call("POST", f"/v2/images/{image}/blocks", json_body={"blocks": [[0, 1]]})
        assert stored.body[16:] == entry(block)
        whole = served.ann.call("GET", f"/v2/images/{image}/file", headers={"Accept": "application/zstd"})
        assert frames.compress(block) in whole.body
        assert served.ann.bytes_of(image) == block


def test_how_much_differs_from_a_base_is_told_to_none_who_may_not_know_of_the_base(served: TwoProjects) -> None:
    """Who names a base gives its bytes to whoever sees the image: and nothing about what it was."""
    secret = served.root.put_image(GOOD * 3, visibility="private")
    own = served.ann.put_image(GOOD * 3, visibility="private")
    for user, base, attributes, told in (
        (served.root, secret, {"owner": "stone", "parent_image_ref": secret}, None),
        (served.root, secret, {"owner": "stone"}, None),
        (served.ann, own, {"visibility": "community"}, None),
        (served.ann, own, {"parent_image_ref": own}, BLOCK),
        (served.ann, None, {}, BLOCK),
    ):
        begun = SentDelta.begin(user, BLOCK * 3, image=user.new_image(**attributes), block_size=BLOCK, base=base)
        begun.send([(1, TEXT)])
        image = begun.finish()
        [found] = [
            each for each in served.ann.call("GET", "/v2/lineage?visibility=all").json["lineage"] if each["id"] == image
        ]
        assert found["changed_size"] == told, attributes
