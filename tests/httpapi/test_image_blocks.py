"""An image as blocks over HTTP: manifest, changes, blocks by number, and who may have them."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from blockstore import diff, frames
from blockstore.block import HEADER_SIZE
from blockstore.digest import digest
from blockstore.manifest import ManifestFile
from blockstore.packs.pack_format import decode_header
from blockstore.resolve import Resolver
from blockstore.sent_blocks import SentHoles, longest_entry
from httpapi.wire.block_stream import MEDIA_TYPE, BlockStreamDecoder, whole_entries
from httpapi.wire.changes import parse_extents
from httpapi.wire.deltas import MANIFEST_HEADER, MANIFEST_TYPE
from tests.kit.sent_deltas import SentDelta
from tests.kit.two_projects import two_projects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.running_server import Answer
    from tests.kit.two_projects import TwoProjects, User

BLOCK = 4096
DATA = random.Random(7).randbytes(1500 * BLOCK)
"""More than one leaf."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[TwoProjects]:
    with two_projects(tmp_path) as running:
        yield running


def changed(data: bytes, *numbers: int, what: bytes = b"\1") -> bytes:
    made = bytearray(data)
    for number in numbers:
        made[number * BLOCK : (number + 1) * BLOCK] = what * BLOCK
    return bytes(made)


def fetched(answer: Answer, blocks: int) -> dict[int, bytes]:
    """The blocks of an answer, unpacked and checked as a client does."""
    assert (answer.status, answer.headers["Content-Type"]) == (200, MEDIA_TYPE)
    decoder = BlockStreamDecoder(blocks=blocks, longest=longest_entry(4 << 20), held=False)
    found: dict[int, bytes] = {}
    for item in whole_entries(decoder.feed(answer.body), bytearray()):
        if isinstance(item, SentHoles):
            found |= dict.fromkeys(range(item.numbers.first, item.numbers.stop), b"")
            continue
        assert isinstance(item, tuple)
        number, entry = item
        header = decode_header(entry)
        assert header is not None
        found[number] = frames.decompress(entry[HEADER_SIZE:], header.raw_length)
        assert digest(found[number]) == header.digest
    decoder.finish()
    return found


def ask(user: User, image_id: str, *ranges: tuple[int, int]) -> Answer:
    return user.call("POST", f"/v2/images/{image_id}/blocks", json_body={"blocks": list(ranges)})


@pytest.mark.parametrize("cutting", ["fixed", "content-defined:16KiB"])
def test_a_manifest_is_read_with_our_own_code_and_names_every_block(
    served: TwoProjects, tmp_path: Path, cutting: str
) -> None:
    data = DATA + bytes(20 * BLOCK) + b"tail"
    image_id = served.ann.put_image(data, drystone_cutting=cutting)
    answer = served.ann.call("GET", f"/v2/images/{image_id}/manifest")
    assert (answer.status, answer.headers["Content-Type"]) == (200, MANIFEST_TYPE)
    assert answer.headers["ETag"] == f'"{image_id}"'
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    path = tmp_path / "fetched.manifest"
    path.write_bytes(answer.body)
    manifest = ManifestFile(path, bytes.fromhex(answer.headers[MANIFEST_HEADER]))
    assert manifest.header.size == len(data)
    for begins, length, name, _ in Resolver([manifest]).blocks(0, len(data)):
        block = data[begins : begins + length]
        assert name == digest(block) or (not any(name) and not any(block))
    manifest.close()


def test_a_manifest_is_summarised_for_those_who_want_json(served: TwoProjects) -> None:
    image_id = served.ann.put_image(DATA + bytes(2 * BLOCK))
    path = f"/v2/images/{image_id}/manifest"
    whole = served.ann.call("GET", path)
    answer = served.ann.call("GET", path, headers={"Accept": "application/json"})
    assert answer.json == {
        "image": image_id, "size": 1502 * BLOCK, "kind": "fixed", "block_size": BLOCK, "blocks": 1502,
        "data_blocks": 1500, "manifest": whole.headers[MANIFEST_HEADER], "manifest_bytes": len(whole.body),
    }  # fmt: skip
    assert (answer.headers["ETag"], answer.headers["Vary"]) == (f'W/"{image_id}"', "Accept")


def test_a_manifest_that_is_known_is_not_sent_again(served: TwoProjects) -> None:
    image_id = served.ann.put_image(b"x")
    answer = served.ann.call("GET", f"/v2/images/{image_id}/manifest", headers={"If-None-Match": f'"{image_id}"'})
    assert (answer.status, answer.body) == (304, b"")


def test_changes_are_the_extents_that_differ(served: TwoProjects) -> None:
    one = served.ann.put_image(DATA)
    two = served.ann.put_image(changed(changed(DATA, 3, 4, 1400), 9, what=b"\0") + b"more")
    answer = served.ann.call("GET", f"/v2/images/{two}/changes?since={one}")
    expected = [(3 * BLOCK, 2 * BLOCK, False), (9 * BLOCK, BLOCK, True), (1400 * BLOCK, BLOCK, False),
                (1500 * BLOCK, 4, False)]  # fmt: skip
    assert parse_extents(answer.json) == expected
    assert (answer.json["size"], answer.json["since_size"]) == (len(DATA) + 4, len(DATA))
    assert "next" not in answer.json
    found, path = [], f"/v2/images/{two}/changes?since={one}&limit=1"
    while path:
        page = served.ann.call("GET", path).json
        found += parse_extents(page)
        path = page.get("next")
    assert found == expected


def test_a_page_of_changes_ends_early_where_much_must_be_read(
    served: TwoProjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.stores.block_reader.MOST_COMPARED", 2)
    size = 5 * 1024 * BLOCK
    one = served.ann.put_image(bytes(size))
    delta = SentDelta.begin(served.ann, size, base=one)
    delta.send([(0, b"x" * BLOCK), (1023, b"y" * BLOCK), (1024, b"z" * BLOCK), (5119, b"v" * BLOCK)])
    two = delta.finish(4)
    pages, path = [], f"/v2/images/{two}/changes?since={one}&from=5"
    while path:
        page = served.ann.call("GET", path).json
        pages.append(parse_extents(page))
        path = page.get("next")
    assert len(pages) == 3
    merged = list[diff.Extent]()
    for offset, length, zero in (each for page in pages for each in page):
        diff.add(merged, diff.Extent(offset, length, zero))
    assert [(each.offset, each.length) for each in merged] == [
        (5, BLOCK - 5), (1023 * BLOCK, 2 * BLOCK), (5119 * BLOCK, BLOCK)]  # fmt: skip


def test_a_look_at_a_manifest_waits_for_its_turn(served: TwoProjects, monkeypatch: pytest.MonkeyPatch) -> None:
    image_id = served.ann.put_image(DATA)
    path, summary = f"/v2/images/{image_id}/manifest", {"Accept": "application/json"}
    monkeypatch.setattr("catalog.stores.admission.PATIENCE", 0.1)
    pool = served.store.pieces
    with ExitStack() as stack:
        while (share := pool.admit(1 << 16, sure=1, most=1)) is not None:
            stack.callback(share.close)
        for headers in (summary, {}):
            answer = served.ann.call("GET", path, headers=headers)
            assert (answer.status, answer.code) == (503, "store-unavailable")
    assert served.ann.call("GET", path, headers=summary).json["blocks"] == 1500
    assert pool.taken == 0


def test_changes_between_other_kinds_are_all_data(served: TwoProjects) -> None:
    one = served.ann.put_image(DATA, drystone_cutting="content-defined:16KiB")
    two = served.ann.put_image(DATA)
    extents = parse_extents(served.ann.call("GET", f"/v2/images/{two}/changes?since={one}").json)
    assert extents == [(0, len(DATA), False)]


@pytest.mark.parametrize("query", ["", "since=", "since=x", "since={one}&from=-1", "since={one}&limit=x"])
def test_changes_that_make_no_sense_are_refused(served: TwoProjects, query: str) -> None:
    one = served.ann.put_image(b"x")
    answer = served.ann.call("GET", f"/v2/images/{one}/changes?{query.format(one=one)}")
    assert answer.status in {400, 404}


@pytest.mark.parametrize("cutting", ["fixed", "content-defined:16KiB"])
def test_blocks_are_given_by_number_as_they_are_stored(served: TwoProjects, cutting: str) -> None:
    data = DATA + bytes(40 * BLOCK) + b"tail" * 100
    image_id = served.ann.put_image(data, drystone_cutting=cutting)
    path = f"/v2/images/{image_id}/manifest"
    summary = served.ann.call("GET", path, headers={"Accept": "application/json"}).json
    blocks = summary["blocks"]
    everything = fetched(ask(served.ann, image_id, (0, blocks)), blocks)
    assert list(everything) == list(range(blocks))
    if cutting == "fixed":
        some = fetched(ask(served.ann, image_id, (5, 2), (1023, 2), (1530, 11)), blocks)
        assert list(some) == [5, 6, 1023, 1024, *range(1530, 1541)]
        for number, block in some.items():
            assert (block or bytes(BLOCK)) == data[number * BLOCK : (number + 1) * BLOCK]
    assert sum(map(len, everything.values())) in range(len(DATA), len(data) + 1)


def test_no_blocks_are_an_empty_answer(served: TwoProjects) -> None:
    image_id = served.ann.put_image(b"x")
    assert fetched(ask(served.ann, image_id), 1) == {}


@pytest.mark.parametrize("ranges", [[(0, 2)], [(1, 1)], [(-1, 1)], [(0, 0)], [(0, 1), (0, 1)], [(2**40, 1)]])
def test_numbers_outside_of_the_image_are_refused(served: TwoProjects, ranges: list[tuple[int, int]]) -> None:
    image_id = served.ann.put_image(b"x")
    answer = ask(served.ann, image_id, *ranges)
    assert (answer.status, answer.code) == (400, "bad-request")


def test_too_many_numbers_are_refused(served: TwoProjects) -> None:
    image_id = served.ann.put_image(bytes(16_385 * BLOCK))
    assert ask(served.ann, image_id, (0, 16_385)).status == 400
    assert list(fetched(ask(served.ann, image_id, (0, 16_384)), 16_385).values()) == [b""] * 16_384


def test_what_may_be_downloaded_may_be_read_by_blocks_and_nothing_else(served: TwoProjects) -> None:
    mine = served.ann.put_image(DATA[: 3 * BLOCK])
    theirs = served.bob.put_image(DATA[: 3 * BLOCK])
    requests = [
        ("GET", "manifest", None),
        ("GET", f"changes?since={mine}", None),
        ("POST", "blocks", {"blocks": [[0, 1]]}),
    ]
    for method, what, body in requests:

        def call(user: User, image_id: str) -> Answer:
            return user.call(method, f"/v2/images/{image_id}/{what}", json_body=body)  # noqa: B023

        assert call(served.ann, mine).status == 200
        assert call(served.root, mine).status == 200
        assert call(served.ann, theirs).status == 404
        assert call(served.bob, mine).status == 404
        assert call(served.rea, mine).status == 403
        assert call(served.ann, "no-id").status == 404
    # Of the older image, too.
    assert served.bob.call("GET", f"/v2/images/{theirs}/changes?since={mine}").status == 404


def test_an_image_without_bytes_has_no_blocks_yet(served: TwoProjects) -> None:
    empty, whole = served.ann.new_image(), served.ann.put_image(b"x")
    for method, what, body in (
        ("GET", "manifest", None),
        ("GET", f"changes?since={whole}", None),
        ("POST", "blocks", {"blocks": []}),
    ):
        assert served.ann.call(method, f"/v2/images/{empty}/{what}", json_body=body).status == 204
    assert served.ann.call("GET", f"/v2/images/{whole}/changes?since={empty}").status == 204


def test_an_empty_image_is_read_by_blocks_too(served: TwoProjects) -> None:
    empty, whole = served.ann.put_image(b""), served.ann.put_image(DATA)
    assert served.ann.call("GET", f"/v2/images/{empty}/manifest").status == 200
    assert parse_extents(served.ann.call("GET", f"/v2/images/{empty}/changes?since={whole}").json) == []
    assert parse_extents(served.ann.call("GET", f"/v2/images/{whole}/changes?since={empty}").json) == [
        (0, len(DATA), False)
    ]
    assert ask(served.ann, empty, (0, 1)).status == 400


def test_damage_is_told_and_never_sent(served: TwoProjects) -> None:
    image_id = served.ann.put_image(DATA[: 20 * BLOCK])
    pack = served.store.packs.path(served.store.index.packs()[0].name)
    with pack.open("r+b") as file:
        file.seek(500)
        file.write(b"\xff\xff\xff")
    answer = ask(served.ann, image_id, (0, 20))
    assert (answer.status, answer.code) == (503, "damaged")
