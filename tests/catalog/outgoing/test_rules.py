from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog.model.errors import AddressRefused
from catalog.stores.outgoing.addresses import refusal
from catalog.stores.outgoing.rules import Rules
from catalog.stores.outgoing.urls import read_url

REFUSED = [
    ("http://2130706433/", "a decimal address of one number"),
    ("http://017700000001/", "an octal address"),
    ("http://0177.0.0.1/", "an octal address"),
    ("http://0x7f000001/", "a hexadecimal address"),
    ("http://0x7f.0.0.1/", "a hexadecimal address"),
    ("http://127.0.0.0x1/", "a hexadecimal address"),
    ("http://0X7F.1/", "a hexadecimal address"),
    ("http://127.1/", "a short address"),
    ("http://127.0.1/", "a short address"),
    ("http://10.0.0.08/", "an octal address"),
    ("http://127.0.0.1.1/", "something between"),
    ("http://127.0.0.1./", "ends in a dot"),
    ("http://example.org./", "ends in a dot"),
    ("http://127.0.0.1/", "127.0.0.1 is a loopback address"),
    ("http://127.255.1.2:80/", "is a loopback address"),
    ("http://0.0.0.0/", "the unspecified address"),
    ("http://10.1.2.3/", "a private address"),
    ("http://172.31.0.1/", "a private address"),
    ("http://192.168.1.1/", "a private address"),
    ("http://169.254.169.254/latest/meta-data/", "a link-local address"),
    ("http://100.64.0.1/", "a provider's own network"),
    ("http://224.0.0.1/", "a multicast address"),
    ("http://255.255.255.255/", "a reserved address"),
    ("http://240.0.0.1/", "a reserved address"),
    ("http://[::1]/", "a loopback address"),
    ("http://[::]/", "the unspecified address"),
    ("http://[0:0:0:0:0:0:0:1]:80/", "a loopback address"),
    ("http://[::ffff:127.0.0.1]/", "an IPv4-mapped address"),
    ("http://[::ffff:8.8.8.8]/", "an IPv4-mapped address"),
    ("http://[::ffff:7f00:1]/", "an IPv4-mapped address"),
    ("http://[::127.0.0.1]/", "an IPv4-compatible address"),
    ("http://[::ffff:0:127.0.0.1]/", "an IPv4-translated address"),
    ("http://[2002:7f00:1::]/", "a 6to4 address"),
    ("http://[64:ff9b::127.0.0.1]/", "a NAT64 address"),
    ("http://[64:ff9b:1::a00:1]/", "a NAT64 address"),
    ("http://[2001:0:1:2:3:4:80ff:fffe]/", "a Teredo address"),
    ("http://[2a00::5efe:10.0.0.1]/", "an ISATAP address"),
    ("http://[fe80::1]/", "a link-local address"),
    ("http://[fe80::1%25eth0]/", "names an interface"),
    ("http://[fc00::1]/", "a private address"),
    ("http://[fec0::1]/", "a private address"),
    ("http://[ff02::1]/", "a multicast address"),
    ("http://[v1.x]/", "is no IPv6 address"),
    ("http://::1/", "stands in brackets"),
    ("http://localhost/", "a loopback address"),
    ("http://LOCALHOST/", "a loopback address"),
    ("http://a.localhost/", "a loopback address"),
    ("http://127。0。0。1/", "is not ASCII"),
    ("http://①②⑦.0.0.1/", "is not ASCII"),
    ("http://%31%32%37.0.0.1/", "is no name and no address"),
    ("http://example.org:22/", "outgoing_ports allows 80, 443"),
    ("https://example.org:8443/", "outgoing_ports"),
    ("http://example.org:0/", "is none"),
    ("http://example.org:99999/", "is none"),
    ("http://example.org:+80/", "cannot be read"),
    ("http://user:secret@example.org/", "credentials are neither sent nor kept"),
    ("http://example.org@127.0.0.1/", "credentials"),
    ("http://@example.org/", "credentials"),
    ("http://example.org\\@127.0.0.1/", "backslash"),
    ("http://127.0.0.1\\.example.org/", "backslash"),
    ("http://exa mple.org/", "blanks"),
    ("http://example.org/\r\nHost: x", "blanks"),
    (" http://example.org/", "blanks"),
    ("http:///etc/passwd", "names no host"),
    ("http:example.org", "names no host"),
    ("http:/example.org", "names no host"),
    ("file:///etc/passwd", "scheme 'file' is not fetched"),
    ("FILE:/etc/passwd", "scheme 'file' is not fetched"),
    ("ftp://example.org/", "scheme 'ftp'"),
    ("gopher://127.0.0.1:6379/_x", "scheme 'gopher'"),
    ("data:text/plain,x", "scheme 'data'"),
    ("jar:http://127.0.0.1!/", "scheme 'jar'"),
    ("//example.org/", "begins with no scheme"),
    ("example.org", "begins with no scheme"),
    ("", "begins with no scheme"),
    ("http://example.org/" + "x" * 5000, "longer than"),
    ("http://" + "a." * 150 + "org/", "is no name"),
]


@pytest.mark.parametrize(("url", "rule"), REFUSED)
def test_what_is_never_asked_is_refused_with_its_rule(url: str, rule: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        Rules().target(url)
    assert rule in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "https://Example.ORG:443/a/b?c=d&e=%20#part",
        "http://1.1.1.1:80/",
        "http://[2606:4700:4700::1111]/",
        "https://xn--bcher-kva.example/bücher",
        "http://a_b.example.org/",
        "http://1.1.1.1.example/",
        "http://0x7f.example/",
    ],
)
def test_what_is_on_the_public_internet_may_be_asked(url: str) -> None:
    Rules().target(url)


def test_a_url_is_read_into_the_parts_that_are_asked() -> None:
    target = read_url("HTTPS://Example.ORG/ä b?q=ü#x".replace(" ", "%20"))
    assert (target.scheme, target.host, target.port) == ("https", "example.org", 443)
    assert (target.path, target.query) == ("/%C3%A4%20b", "q=%C3%BC")
    assert str(target) == "https://example.org/%C3%A4%20b"
    assert str(read_url("http://[2606::1]:81/x?signature=secret")) == "http://[2606::1]:81/x"


def test_networks_and_hosts_can_be_allowed() -> None:
    rules = Rules(networks=(ip_network("127.0.0.0/8"), ip_network("64:ff9b::/96")), ports=frozenset({80, 8080}))
    rules.target("http://127.0.0.1:8080/")
    rules.target("http://localhost/")
    rules.target("http://[64:ff9b::1.1.1.1]/")
    rules.target("http://[64:ff9b::127.0.0.1]/")
    with pytest.raises(AddressRefused, match=r"NAT64 address of 10.0.0.1, and 10.0.0.1 is a private address"):
        rules.target("http://[64:ff9b::10.0.0.1]/")
    with pytest.raises(AddressRefused, match="hexadecimal"):
        rules.target("http://0x7f000001/")
    named = Rules(hosts=frozenset({"mirror.example", ".lab.example", "10.0.0.1"}))
    named.target("http://10.0.0.1/")
    named.judge("mirror.example", 80, ["10.0.0.9"])
    named.judge("a.lab.example", 80, ["10.0.0.9"])
    for other in ("lab.example", "evil-mirror.example", "alab.example"):
        with pytest.raises(AddressRefused, match=f"The name {other} leads there"):
            named.judge(other, 80, ["10.0.0.9"])


def test_one_bad_address_among_good_ones_refuses_the_name() -> None:
    Rules().judge("example.org", 80, ["1.1.1.1", "2606:4700::1"])
    for bad in ("127.0.0.1", "::ffff:1.1.1.1", "fe80::1%eth0"):
        with pytest.raises(AddressRefused, match="leads there"):
            Rules().judge("example.org", 80, ["1.1.1.1", bad])


def test_what_the_operator_named_may_be_anywhere_and_nothing_beside_it() -> None:
    rules = Rules().beside("http://10.0.0.5:9292/v2")
    rules.target("http://10.0.0.5:9292/v2/images")
    rules.judge("10.0.0.5", 9292, ["10.0.0.5"])
    for other in ("http://10.0.0.5/", "https://10.0.0.5:9292/", "http://10.0.0.6:9292/"):
        with pytest.raises(AddressRefused):
            rules.target(other)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
@example(IPv4Address("192.0.0.9"))
@example(IPv6Address("2001:1::1"))
@example(IPv6Address("100::1"))
@example(IPv6Address("5f00::1"))
def test_whatever_python_takes_for_special_is_refused(address: IPv4Address | IPv6Address) -> None:
    special = not address.is_global or address.is_multicast or address.is_reserved
    assert not special or refusal(address, ()) is not None


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_of_ipv4_no_more_is_refused_than_python_takes_for_special(address: IPv4Address) -> None:
    ours = address in ip_network("192.0.0.0/24") or address in ip_network("192.88.99.0/24")
    assert (refusal(address, ()) is not None) == (not address.is_global or address.is_multicast or ours)


PARTS = st.one_of(
    st.integers(0, 2**32).map(str), st.integers(0, 2**32).map(hex), st.integers(0, 2**32).map(lambda n: f"0{n:o}")
)
HOSTS = st.one_of(
    st.lists(PARTS, min_size=1, max_size=5).map(".".join),
    st.text("0123456789abcdefxABCX.:[]%@-_ /\\\t。１", max_size=24),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)


@given(HOSTS, st.sampled_from(["", ":80", ":443", ":0", ":8080"]))
def test_no_way_of_writing_an_address_gets_past_the_rules(host: str, port: str) -> None:
    """What the C library takes for an address is either refused or the very address that was judged."""
    try:
        target = Rules().target(f"http://{host}{port}/")
    except AddressRefused:
        return
    assert target.port in {80, 443}
    bare = target.host
    try:
        meant = ip_address(bare) if ":" in bare else ip_address(socket.inet_aton(bare))
    except OSError:
        assert target.address is None
        return
    assert target.address == meant
    assert meant.is_global
    assert not meant.is_multicast


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://", "http://example.org", "http://example.org/"]))
def test_any_text_is_either_refused_or_a_url_of_plain_parts(text: str, before: str) -> None:
    try:
        target = read_url(before + text)
    except AddressRefused:
        return
    assert target.path.startswith("/")
    assert f"{target.host}{target.path}{target.query}".isascii()
    assert not set(f"{target.host}{target.path}{target.query}") & set(" \r\n\t#")
