from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from catalog.model.errors import AddressRefused, LimitExceeded, SourceChanged, SourceLost, SourceRefused
from catalog.stores.outgoing.answers import asked_to_wait
from catalog.stores.outgoing.names import SystemNames
from catalog.stores.outgoing.outgoing import Outgoing
from catalog.stores.outgoing.rules import Rules
from catalog.stores.outgoing.way import Waits
from tests.kit.authority import Authority
from tests.kit.broken_web import LONG_AGO, BrokenWeb, Served
from tests.kit.played_names import PlayedNames

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from catalog.stores.outgoing.names import Names

LOOPBACK = (ip_network("127.0.0.0/8"),)
DATA = os.urandom(3 << 20) + b"end"
QUICK = (0.01, 0.01, 0.01)


@pytest.fixture
def web() -> Iterator[BrokenWeb]:
    with BrokenWeb() as running:
        running.files["/image"] = Served(DATA)
        yield running


def way(web: BrokenWeb, *, names: Names | None = None, silence: float = 5.0, allow: bool = True) -> Outgoing:
    rules = Rules(ports=frozenset({web.port}), networks=LOOPBACK if allow else ())
    return Outgoing(rules, pauses=QUICK, waits=Waits(5.0, silence), names=names)


async def whole(outgoing: Outgoing, url: str, *, limit: int | None = None, piece: int = 1 << 20) -> bytes:
    remote = await outgoing.open(url, limit=limit)
    room = memoryview(bytearray(piece))
    found = bytearray()
    try:
        while count := await remote.read_into(room):
            found += room[:count]
    finally:
        remote.close()
    assert remote.received == len(found)
    return bytes(found)


def fetch(web: BrokenWeb, path: str = "/image", *, limit: int | None = None, silence: float = 5.0) -> bytes:
    async def scene() -> bytes:
        outgoing = way(web, silence=silence)
        try:
            return await whole(outgoing, web.url(path), limit=limit)
        finally:
            await outgoing.close()

    return asyncio.run(scene())


def test_names_are_resolved_on_no_thread_that_others_wait_for() -> None:
    async def scene() -> None:
        common = ThreadPoolExecutor()
        common.shutdown()
        asyncio.get_running_loop().set_default_executor(common)
        assert "127.0.0.1" in await SystemNames().addresses("localhost")

    asyncio.run(scene())


def test_a_server_that_gives_a_byte_now_and_then_is_given_up(web: BrokenWeb) -> None:
    web.files["/image"] = Served(DATA, drops=[1] * 10_000)

    async def scene() -> None:
        rules = Rules(ports=frozenset({web.port}), networks=LOOPBACK)
        outgoing = Outgoing(rules, pauses=QUICK, waits=Waits(5.0, 5.0, pace=0.3))
        try:
            with pytest.raises(SourceLost, match="less than 16 KiB/s"):
                await asyncio.wait_for(whole(outgoing, web.url("/image")), 20)
        finally:
            await outgoing.close()

    asyncio.run(scene())


def test_a_file_comes_whole_and_tells_what_it_is(web: BrokenWeb) -> None:
    async def scene() -> None:
        outgoing = way(web)
        remote = await outgoing.open(web.url("/image"))
        told: list[tuple[int, int | None]] = []
        remote.on_progress = lambda done, of: told.append((done, of))
        assert remote.size == len(DATA)
        assert remote.version.validator == '"one"'
        room, found = memoryview(bytearray(1000)), b""
        while count := await remote.read_into(room):
            found += bytes(room[:count])
        assert found == DATA
        assert told[-1] == (len(DATA), len(DATA))
        remote.close()
        await outgoing.close()

    asyncio.run(scene())
    [asked] = web.asked
    assert asked.headers["accept-encoding"] == "identity"
    assert not {"cookie", "authorization", "range"} & set(asked.headers)


def test_an_empty_file_is_a_file(web: BrokenWeb) -> None:
    web.files["/image"] = Served(b"")
    assert fetch(web) == b""


@pytest.mark.parametrize("abort", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_what_breaks_off_goes_on_at_the_very_byte(web: BrokenWeb, abort: bool, chunked: bool) -> None:  # noqa: FBT001
    drops = [1, 100_000, 1 << 20, 700_001, 1]
    web.files["/image"] = Served(DATA, drops=list(drops), abort=abort, chunked=chunked)
    assert fetch(web) == DATA
    assert len(web.asked) >= len(drops)
    assert all(asked.headers["if-range"] == '"one"' for asked in web.asked if "range" in asked.headers)
    if not abort:
        assert web.sent - len(DATA) < 1 << 18


def test_a_break_right_at_the_end_of_chunks_is_no_loss(web: BrokenWeb) -> None:
    web.files["/image"] = Served(DATA, drops=[len(DATA)], chunked=True)
    assert fetch(web) == DATA


def test_a_date_is_a_version_too_if_it_is_not_of_this_second(web: BrokenWeb) -> None:
    web.files["/image"] = Served(DATA, drops=[1000, 1000], etag='W/"weak"', modified=LONG_AGO)
    assert fetch(web) == DATA
    assert web.asked[1].headers["if-range"] == LONG_AGO


def test_without_a_version_what_broke_off_is_an_error_that_says_so(web: BrokenWeb) -> None:
    web.files["/image"] = Served(DATA, drops=[1000], etag='W/"weak"')
    with pytest.raises(SourceLost, match=r"broke off after 1000 bytes.*names no version"):
        fetch(web)


def test_a_server_without_ranges_begins_anew_and_what_is_here_is_skipped(web: BrokenWeb) -> None:
    web.files["/image"] = Served(DATA, drops=[1 << 20, 2 << 20], ranges=False)
    assert fetch(web) == DATA


def change(served: Served) -> None:
    served.etag = '"two"'
    served.data = served.data[::-1]


def shrink(served: Served) -> None:
    served.data = served.data[:100]


def grow(served: Served) -> None:
    served.data += b"more"


def lose(served: Served) -> None:
    served.etag = None


@pytest.mark.parametrize("what", [change, shrink, grow])
@pytest.mark.parametrize("ranges", [False, True])
def test_a_file_that_changes_meanwhile_is_an_error_and_never_a_mixture(
    web: BrokenWeb,
    what: object,
    ranges: bool,  # noqa: FBT001
) -> None:
    web.files["/image"] = Served(DATA, drops=[1 << 20], ranges=ranges, after_drop=what)  # type: ignore[arg-type]
    with pytest.raises(SourceChanged, match=r"changed while it was fetched"):
        fetch(web)


def test_a_server_that_begins_anew_and_names_no_version_then_is_not_believed(web: BrokenWeb) -> None:
    web.files["/image"] = Served(DATA, drops=[1 << 20], ranges=False, after_drop=lose)
    with pytest.raises(SourceChanged):
        fetch(web)


def test_a_length_that_lies_is_noticed(web: BrokenWeb) -> None:
    web.files["/image"] = Served(DATA, length=len(DATA) + 10)
    with pytest.raises(SourceChanged):
        fetch(web)
    web.files["/image"] = Served(DATA, endless=True)
    with pytest.raises(SourceLost, match=r"does not say how long"):
        fetch(web)
    web.files["/image"] = Served(DATA, drops=[100], shift=1)
    with pytest.raises(SourceLost, match=r"was asked for the one at 100"):
        fetch(web)


def test_ranges_that_are_answered_in_bits_are_put_together(web: BrokenWeb) -> None:
    web.files["/image"] = Served(DATA, drops=[100], cut=1 << 20)
    assert fetch(web) == DATA


def test_tries_are_bounded_and_begin_anew_with_every_byte(web: BrokenWeb) -> None:
    web.files["/image"] = Served(DATA, drops=[50_000] * 20)
    assert fetch(web) == DATA
    web.files["/image"] = Served(DATA, drops=[100, 0, 0, 0, 0])
    with pytest.raises(SourceLost, match=r"after 100 bytes: .*, 4 times in a row"):
        fetch(web)
    web.files["/image"] = Served(DATA, statuses=[503, 429, 500])
    assert fetch(web) == DATA


def test_a_server_may_say_when_to_ask_again_within_bounds(web: BrokenWeb) -> None:
    async def scene() -> float:
        rules = Rules(ports=frozenset({web.port}), networks=LOOPBACK)
        outgoing = Outgoing(rules, pauses=QUICK, waits=Waits(5.0, 5.0, asked=0.15))
        began = time.monotonic()
        try:
            assert await whole(outgoing, web.url("/image")) == DATA
        finally:
            await outgoing.close()
        return time.monotonic() - began

    web.files["/image"] = Served(DATA, statuses=[503, 429], headers={"Retry-After": "86400"})
    assert 0.3 <= asyncio.run(scene()) < 20


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "9" * 40}, 0),
        ({"Retry-After": "Fri, 27 Nov 2026 07:00:30 GMT", "Date": "Fri, 27 Nov 2026 07:00:00 GMT"}, 30),
        ({"Retry-After": "Fri, 27 Nov 2026 07:00:00 GMT", "Date": "Fri, 27 Nov 2026 07:00:30 GMT"}, 0),
        ({"Retry-After": "Fri, 27 Nov 2026 07:00:30 GMT"}, 0),
    ],
)
def test_a_time_to_wait_is_read_as_seconds_or_as_a_date_by_the_servers_clock(
    headers: Mapping[str, str], seconds: float
) -> None:
    assert asked_to_wait(headers) == seconds


def test_a_server_that_stands_still_ends_in_time(web: BrokenWeb) -> None:
    web.files["/image"] = Served(DATA, stall=30)
    with pytest.raises(SourceLost, match=r"fell silent"):
        fetch(web, silence=0.05)


def test_what_is_refused_or_absent_is_not_tried_again(web: BrokenWeb) -> None:
    with pytest.raises(SourceRefused, match=r"/other answers 404") as refused:
        fetch(web, "/other?signature=secret")
    assert refused.value.absent
    assert "secret" not in str(refused.value)
    web.files["/image"].status = 403
    with pytest.raises(SourceRefused, match=r"answers 403") as refused:
        fetch(web)
    assert not refused.value.absent
    assert len(web.asked) == 2


def test_compressed_bytes_are_not_the_file(web: BrokenWeb) -> None:
    web.files["/image"].headers = {"Content-Encoding": "gzip"}
    with pytest.raises(SourceLost, match=r"'gzip'"):
        fetch(web)


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_file_is_refused(web: BrokenWeb, chunked: bool) -> None:  # noqa: FBT001
    web.files["/image"].chunked = chunked
    with pytest.raises(LimitExceeded, match="larger than the 1000000 bytes"):
        fetch(web, limit=1_000_000)
    assert fetch(web, limit=len(DATA)) == DATA


def test_an_address_leads_on_a_few_times(web: BrokenWeb) -> None:
    web.redirect("/a", "/b", 301)
    web.redirect("/b", web.url("/c"), 303)
    web.redirect("/c", "image", 307)
    assert fetch(web, "/a") == DATA
    web.redirect("/round", "/round", 308)
    with pytest.raises(SourceRefused, match=r"leads on more than 5 times"):
        fetch(web, "/round")


@pytest.mark.parametrize(
    ("location", "rule"),
    [
        ("http://10.0.0.1:{port}/", "private address"),
        ("http://[::1]:{port}/", "loopback address"),
        ("http://0x7f.1:{port}/", "hexadecimal"),
        ("http://127.0.0.1:1/", "outgoing_ports"),
        ("file:///etc/passwd", "scheme 'file'"),
        ("//169.254.169.254:{port}/", "link-local"),
        ("http://me:secret@127.0.0.1:{port}/", "credentials"),
    ],
)
def test_where_an_address_leads_is_judged_as_the_first_one_was(web: BrokenWeb, location: str, rule: str) -> None:
    web.redirect("/on", location.format(port=web.port))
    with pytest.raises(AddressRefused, match=f"leads on to what is not asked.*{rule}"):
        fetch(web, "/on")
    assert len(web.asked) == 1


def test_a_name_to_which_an_address_leads_is_judged_too(web: BrokenWeb) -> None:
    async def scene() -> None:
        names = PlayedNames(first_example=[["127.0.0.1"]], inside_example=[["10.0.0.1"]])
        web.redirect("/on", web.url("/image", host="inside.example"))
        outgoing = way(web, names=names)
        with pytest.raises(AddressRefused, match=r"first.example:\d+/on leads on .*inside.example leads there"):
            await outgoing.open(web.url("/on", host="first.example"))
        await outgoing.close()

    asyncio.run(scene())


def test_a_token_goes_to_the_host_it_is_for_alone(web: BrokenWeb) -> None:
    async def scene(headers: Mapping[str, str]) -> None:
        names = PlayedNames(other_example=[["127.0.0.1"]])
        outgoing = way(web, names=names)
        web.redirect("/on", web.url("/image", host="other.example"))
        (await outgoing.open(web.url("/on"), headers=headers)).close()
        await outgoing.close()

    asyncio.run(scene({"X-Auth-Token": "secret"}))
    assert [asked.headers.get("x-auth-token") for asked in web.asked] == ["secret", None]


def test_a_name_that_leads_elsewhere_when_it_is_asked_again_is_not_followed(web: BrokenWeb) -> None:
    async def scene() -> None:
        names = PlayedNames(rebound_example=[["93.184.216.34"], ["127.0.0.1"]], mixed_example=[["1.1.1.1", "::1"]])
        outgoing = way(web, names=names, allow=False)
        url = web.url("/image", host="rebound.example")
        await outgoing.check(url)
        with pytest.raises(AddressRefused, match=r"127.0.0.1 is a loopback address.*rebound.example leads there"):
            await outgoing.open(url)
        with pytest.raises(AddressRefused):
            await outgoing.check(url)
        with pytest.raises(AddressRefused, match=r"::1 is a loopback address"):
            await outgoing.check(web.url("/image", host="mixed.example"))
        await outgoing.check(web.url("/image", host="unknown.example"))
        with pytest.raises(SourceLost, match=r"unknown.example"):
            await outgoing.open(web.url("/image", host="unknown.example"))
        await outgoing.close()

    asyncio.run(scene())
    assert not web.asked


def test_a_name_that_is_rebound_while_a_file_comes_is_not_followed(web: BrokenWeb) -> None:
    async def scene() -> None:
        names = PlayedNames(rebound_example=[["127.0.0.1"], ["10.0.0.1"]])
        web.files["/image"].drops = [1000]
        outgoing = way(web, names=names)
        with pytest.raises(AddressRefused, match=r"private address"):
            await whole(outgoing, web.url("/image", host="rebound.example"))
        assert names.asked["rebound.example"] == 2
        await outgoing.close()

    asyncio.run(scene())


def test_what_the_environment_says_of_proxies_is_nothing_to_us(
    web: BrokenWeb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert fetch(web) == DATA
    assert "authorization" not in web.asked[0].headers


def test_tls_holds_the_server_to_the_name_not_to_the_address(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    trust = ssl.create_default_context(cafile=authority.path)
    with BrokenWeb(tls=authority.sign("images.example").context()) as web:
        web.files["/image"] = Served(DATA)
        web.redirect("/down", f"http://images.example:{web.port}/image")
        names = PlayedNames(images_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
        rules = Rules(ports=frozenset({web.port}), networks=LOOPBACK)

        async def scene() -> None:
            outgoing = Outgoing(rules, names=names, pauses=QUICK, tls=trust)
            url = web.url("/image", host="images.example")
            assert hashlib.sha256(await whole(outgoing, url)).digest() == hashlib.sha256(DATA).digest()
            with pytest.raises(SourceRefused, match=r"cannot be trusted"):
                await outgoing.open(web.url("/image", host="other.example"))
            with pytest.raises(AddressRefused, match=r"from https to http"):
                await outgoing.open(web.url("/down", host="images.example"))
            await outgoing.close()

        asyncio.run(scene())


def test_parts_of_a_file_come_alone(web: BrokenWeb) -> None:
    async def part(start: int, stop: int) -> bytes:
        outgoing = way(web)
        transfer = outgoing.part(web.url("/image"), start, stop)
        found = b""
        while piece := await transfer.next():
            found += piece
        assert transfer.ranges == web.files["/image"].ranges
        await outgoing.close()
        return found

    assert asyncio.run(part(5, 1 << 20)) == DATA[5 : 1 << 20]
    web.files["/image"].drops = [1000, 5000]
    assert asyncio.run(part(100, 2 << 20)) == DATA[100 : 2 << 20]
    web.files["/image"].ranges = False
    assert asyncio.run(part(100, 2 << 20)) == DATA[100 : 2 << 20]
