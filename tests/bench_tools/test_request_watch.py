from __future__ import annotations

from bench.request_watch import Moment, RequestWatch

PUT = b"PUT /v2/images/1/deltas/2/blocks HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
POST = b"POST /v2/images/1/deltas/2/commit?x=/y HTTP/1.1\r\ncontent-length:2\r\n\r\n{}"
GET = b"GET /v2/images/1/manifest HTTP/1.1\r\n\r\n"


def test_requests_are_told_apart_however_they_are_cut() -> None:
    for size in (1, 7, 1000):
        watch = RequestWatch()
        # A body that looks like a request is none.
        stream = PUT + b"GET / HTT\n" + POST + GET
        for at in range(0, len(stream), size):
            watch.asked(1, stream[at : at + size])
        assert watch.whole == {"PUT blocks": 1, "POST commit": 1, "GET manifest": 1}
        assert watch.up == {"PUT blocks": len(PUT) + 10, "POST commit": len(POST), "GET manifest": len(GET)}


def test_a_moment_comes_once_and_of_its_kind_only() -> None:
    watch, acts = RequestWatch(), 0

    def act() -> None:
        nonlocal acts
        acts += 1

    watch.begin(Moment("PUT blocks", up=len(PUT) + 5), act)
    for connection, data in ((1, GET), (2, PUT), (1, POST), (2, b"1234")):
        watch.asked(connection, data)
        watch.look()
        assert acts == 0
    watch.asked(2, b"5")
    watch.look()
    watch.look()
    assert acts == 1
    watch.begin(Moment("GET manifest", whole=1, down=3), act)
    watch.asked(3, GET)
    watch.answered(2, b"HTTP/1.1")
    watch.answered(3, b"HT")
    assert acts == 1
    watch.answered(3, b"T")
    assert acts == 2
