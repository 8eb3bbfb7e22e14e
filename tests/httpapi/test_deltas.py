"""Delta uploads over HTTP: what arrives becomes the image, over a base or without, and can be gone on with."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from blockstore import names
from httpapi.wire.changes import parse_extents
from tests.kit.sent_deltas import SentDelta, blocks_of, held, holes, item
from tests.kit.two_projects import two_projects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.two_projects import TwoProjects

BLOCK = 4096
RANDOM = random.Random(11)
DATA = RANDOM.randbytes(1500 * BLOCK + 100)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[TwoProjects]:
    with two_projects(tmp_path) as running:
        yield running


def test_an_image_is_made_of_what_arrives_and_of_its_base(served: TwoProjects) -> None:
    base = served.ann.put_image(DATA)
    delta = SentDelta.begin(served.ann, len(DATA), base=base)
    assert served.ann.status_of(delta.image) == "saving"
    delta.send([(3, b"a" * BLOCK), (1023, b"b" * BLOCK), (1024, bytes(BLOCK)), (1500, b"c" * 100)])
    assert delta.put(holes(20, 30)).status == 204
    assert delta.arrived() == [[3, 1], [20, 30], [1023, 2], [1500, 1]]
    expected = bytearray(DATA)
    for number, block in ((3, b"a" * BLOCK), (1023, b"b" * BLOCK), (1024, bytes(BLOCK)), (1500, b"c" * 100)):
        expected[number * BLOCK : number * BLOCK + len(block)] = block
    expected[20 * BLOCK : 50 * BLOCK] = bytes(30 * BLOCK)
    image = delta.finish(34)
    assert served.ann.bytes_of(image) == bytes(expected)
    found = served.ann.call("GET", f"/v2/images/{image}/changes?since={base}").json
    assert sum(length for _, length, _ in parse_extents(found)) == 33 * BLOCK + 100


def test_without_a_base_what_is_not_sent_is_zeros(served: TwoProjects) -> None:
    delta = SentDelta.begin(served.ann, 5000 * BLOCK + 7, block_size=BLOCK)
    delta.send([(4000, b"x" * BLOCK), (5000, b"y" * 7)])
    data = served.ann.bytes_of(delta.finish(2))
    assert data == bytes(4000 * BLOCK) + b"x" * BLOCK + bytes(999 * BLOCK) + b"y" * 7


def test_an_empty_delta_is_its_base_again_and_an_empty_image_is_possible(served: TwoProjects) -> None:
    base = served.ann.put_image(DATA)
    assert served.ann.bytes_of(SentDelta.begin(served.ann, len(DATA), base=base).finish(0)) == DATA
    assert served.ann.bytes_of(SentDelta.begin(served.ann, 0, base=base).finish()) == b""
    assert served.ann.bytes_of(SentDelta.begin(served.ann, 0).finish()) == b""


@pytest.mark.parametrize("size", [1, BLOCK, 700 * BLOCK, 700 * BLOCK + 5, 1500 * BLOCK, 1500 * BLOCK + 99,
                                  1500 * BLOCK + 101, 1501 * BLOCK, 4000 * BLOCK + 3])  # fmt: skip
def test_an_image_may_shrink_and_grow_and_only_blocks_of_another_length_must_be_sent(
    served: TwoProjects, size: int
) -> None:
    base = served.ann.put_image(DATA)
    delta = SentDelta.begin(served.ann, size, base=base)
    expected = DATA[:size] + bytes(max(0, size - len(DATA)))
    answer = delta.commit()
    if size % BLOCK == 0 and size < len(DATA):
        assert answer.status == 200
    else:
        last = (min(size, len(DATA)) - 1) // BLOCK
        assert (answer.status, answer.code) == (409, "delta-incomplete")
        assert answer.headers["x-drystone-blocks"] == f"{last}-{last}"
        assert served.ann.status_of(delta.image) == "saving"
        delta.send([(last, blocks_of(expected, BLOCK)[last])])
        delta.finish(1)
    assert served.ann.bytes_of(delta.image) == expected


def test_a_commit_notices_that_a_request_was_lost_and_may_be_repeated(served: TwoProjects) -> None:
    delta = SentDelta.begin(served.ann, 10 * BLOCK, block_size=BLOCK)
    delta.send([(1, b"x" * BLOCK)])
    answer = delta.commit(2)
    assert (answer.status, answer.code) == (409, "delta-incomplete")
    first = delta.commit(1)
    again = delta.commit(1)
    assert (first.status, again.status) == (200, 200)
    assert first.json["id"] == again.json["id"] == delta.image
    assert delta.commit(7).status == 200
    for ended in (delta.put(item(2, b"y" * BLOCK)), served.ann.call("GET", delta.path),
                  served.ann.call("DELETE", delta.path)):  # fmt: skip
        assert (ended.status, ended.code) == (404, "not-found")


def test_the_hashes_are_left_to_a_task(served: TwoProjects) -> None:
    image = SentDelta.begin(served.ann, BLOCK).finish()
    record = served.ann.call("GET", f"/v2/images/{image}").json
    assert (record["os_hash_algo"], record["os_hash_value"], record["checksum"]) == ("sha512", None, None)
    assert [task["type"] for task in served.ann.call("GET", f"/v2/images/{image}/tasks").json["tasks"]] == ["hash"]


def test_blocks_of_images_that_the_caller_may_read_are_named_by_image_and_number(served: TwoProjects) -> None:
    one = served.ann.put_image(DATA)
    shared = served.root.put_image(b"p" * 10 * BLOCK, visibility="public")
    cut = served.ann.put_image(DATA, drystone_cutting="fixed:8KiB")
    delta = SentDelta.begin(served.ann, 1030 * BLOCK, block_size=BLOCK)
    answer = delta.put(held(0, 1000, one, 500), held(1000, 5, shared, 2), item(1005, b"z" * BLOCK))
    assert answer.status == 204, answer.body
    assert delta.put(held(1010, 1, cut, 0)).code == "block-refused"
    data = served.ann.bytes_of(delta.finish(1006))
    assert data == DATA[500 * BLOCK : 1500 * BLOCK] + b"p" * 5 * BLOCK + b"z" * BLOCK + bytes(24 * BLOCK)


def test_holes_of_another_image_are_holes_and_its_tail_fits_a_tail(served: TwoProjects) -> None:
    one = served.ann.put_image(bytes(3 * BLOCK) + b"x" * BLOCK + b"tail")
    delta = SentDelta.begin(served.ann, 4 * BLOCK + 4, block_size=BLOCK)
    assert delta.put(held(0, 5, one, 0)).status == 204
    assert served.ann.bytes_of(delta.finish(5)) == served.ann.bytes_of(one)


def test_the_base_stays_whatever_happens_to_it(served: TwoProjects) -> None:
    base = served.ann.put_image(DATA)
    delta = SentDelta.begin(served.ann, len(DATA), base=base)
    delta.send([(0, b"a" * BLOCK)])
    assert served.ann.call("DELETE", f"/v2/images/{base}").status == 204
    assert served.ann.bytes_of(delta.finish(1)) == b"a" * BLOCK + DATA[BLOCK:]


def test_deltas_on_deltas_are_flattened_before_they_are_too_deep(served: TwoProjects) -> None:
    data = bytearray(RANDOM.randbytes(40 * BLOCK))
    image = served.ann.put_image(bytes(data))
    for number in range(20):
        delta = SentDelta.begin(served.ann, len(data), base=image)
        block = RANDOM.randbytes(BLOCK)
        data[number * BLOCK : (number + 1) * BLOCK] = block
        delta.send([(number, block)])
        image = delta.finish(1)
    assert served.ann.bytes_of(image) == bytes(data)


def test_many_requests_may_run_at_once_in_any_order(served: TwoProjects) -> None:
    data = RANDOM.randbytes(400 * BLOCK)
    delta = SentDelta.begin(served.ann, len(data), block_size=BLOCK)
    blocks = list(blocks_of(data, BLOCK).items())
    batches = [sorted(blocks[at::10]) for at in range(10)]
    RANDOM.shuffle(batches)
    statuses: list[int] = []

    def send(batch: list[tuple[int, bytes]]) -> None:
        statuses.append(delta.put(*(item(number, block) for number, block in batch)).status)

    # Each is sent twice.
    threads = [threading.Thread(target=send, args=(batch,)) for batch in batches * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [204] * 20
    assert served.ann.bytes_of(delta.finish(400)) == data


def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    with two_projects(tmp_path) as served:
        base = served.ann.put_image(DATA)
        delta = SentDelta.begin(served.ann, len(DATA), base=base)
        delta.send([(7, b"7" * BLOCK)])
    with two_projects(tmp_path) as served:
        again = delta.by(served.ann)
        assert served.ann.call("GET", f"/v2/images/{delta.image}/deltas").json["deltas"][0]["id"] == delta.id
        assert again.arrived() == [[7, 1]]
        again.send([(8, b"8" * BLOCK)])
        data = served.ann.bytes_of(again.finish(2))
        assert data == DATA[: 7 * BLOCK] + b"7" * BLOCK + b"8" * BLOCK + DATA[9 * BLOCK :]


def test_what_is_told_of_an_upload(served: TwoProjects) -> None:
    base = served.ann.put_image(DATA)
    image = served.ann.new_image()
    answer = served.ann.call("POST", f"/v2/images/{image}/deltas", json_body={"size": 5 * BLOCK, "base": base.upper()})
    found = answer.json
    assert answer.headers["Location"].endswith(f"/v2/images/{image}/deltas/{found['id']}")
    assert found == {
        "id": found["id"], "image": image, "size": 5 * BLOCK, "block_size": BLOCK, "base": base,
        "expires_at": found["expires_at"], "request_bytes": 64 << 20, "request_blocks": 16384, "arrived": [],
        "blocks": 0,
    }  # fmt: skip
    assert served.ann.call("GET", f"/v2/images/{base}/deltas").json == {"deltas": []}


def test_giving_up_queues_the_image_again_and_leaves_nothing(served: TwoProjects, tmp_path: Path) -> None:
    delta = SentDelta.begin(served.ann, len(DATA), base=served.ann.put_image(DATA))
    delta.send([(0, b"x" * BLOCK)])
    journals = tmp_path / "data" / "journals"
    assert len(list(journals.iterdir())) == 1
    assert served.ann.call("DELETE", delta.path).status == 204
    assert served.ann.call("DELETE", delta.path).status == 404
    assert served.ann.status_of(delta.image) == "queued"
    assert not list(journals.iterdir())
    assert served.ann.bytes_of(SentDelta.begin(served.ann, 5, image=delta.image).finish()) == bytes(5)


def test_deleting_the_image_ends_its_upload(served: TwoProjects, tmp_path: Path) -> None:
    delta = SentDelta.begin(served.ann, BLOCK)
    assert served.ann.call("DELETE", f"/v2/images/{delta.image}").status == 204
    assert delta.put(item(0, b"x" * BLOCK)).status == 404
    assert delta.commit().status == 404
    assert not list((tmp_path / "data" / "journals").iterdir())


def test_two_commits_at_once_make_one_image(served: TwoProjects, tmp_path: Path) -> None:
    delta = SentDelta.begin(served.ann, len(DATA), base=served.ann.put_image(DATA))
    delta.send([(0, b"x" * BLOCK)])
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(delta.commit(1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 4
    assert served.ann.bytes_of(delta.image) == b"x" * BLOCK + DATA[BLOCK:]
    # The base's and the image's: whatever else was built is gone.
    assert len(list((tmp_path / "data" / "manifests").rglob("*.manifest"))) == 2


def test_an_image_that_is_not_queued_takes_no_delta(served: TwoProjects) -> None:
    whole = served.ann.put_image(b"x")
    answer = served.ann.call("POST", f"/v2/images/{whole}/deltas", json_body={"size": 5})
    assert (answer.status, answer.code) == (409, "conflict")
    delta = SentDelta.begin(served.ann, 5)
    assert served.ann.call("POST", f"/v2/images/{delta.image}/deltas", json_body={"size": 5}).status == 409
    put = served.ann.call("PUT", f"/v2/images/{delta.image}/file", b"x", {"Content-Type": "application/octet-stream"})
    assert put.status == 409
    assert len(delta.arrived()) == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"size": -1}, 400),
        ({"size": 5, "block_size": 5000}, 400),
        ({"size": 5, "block_size": 0}, 400),
        ({"size": 5, "block_size": 8 << 20}, 400),
        ({"size": 5, "base": "no-id"}, 400),
        ({"size": 5, "base": names.new_name().hex()}, 400),
        ({"size": 5, "base": "11111111-2222-3333-4444-555555555555"}, 400),
        ({"size": 2**41}, 413),
        ({"size": 2**40, "block_size": 4096}, 413),
    ],
)
def test_a_delta_that_cannot_be_is_refused_before_anything_is_made(
    served: TwoProjects, tmp_path: Path, body: dict[str, object], status: int
) -> None:
    image = served.ann.new_image()
    answer = served.ann.call("POST", f"/v2/images/{image}/deltas", json_body=body)
    assert answer.status == status, answer.body
    assert served.ann.status_of(image) == "queued"
    assert not list((tmp_path / "data" / "journals").iterdir())


def test_a_base_that_does_not_fit_is_refused(served: TwoProjects) -> None:
    image = served.ann.new_image()
    cut = served.ann.put_image(DATA, drystone_cutting="content-defined:16KiB")
    large = served.ann.put_image(DATA, drystone_cutting="fixed:8KiB")
    for base, how, status in ((cut, {}, 400), (large, {"block_size": BLOCK}, 409), (large, {"block_size": 8192}, 201)):
        answer = served.ann.call("POST", f"/v2/images/{image}/deltas", json_body={"size": 5, "base": base, **how})
        assert answer.status == status, answer.body
