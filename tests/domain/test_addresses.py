"""One client, one address: whatever form a gateway gives it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittrade.domain.addresses import forwarded_address, read_address, read_network


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7 ", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("203.0.113.7:", "203.0.113.7"),
        ('"203.0.113.7:4711"', "203.0.113.7"),
        ("for=203.0.113.7", "203.0.113.7"),
        ('For="[2001:db8::1]:4711"', "2001:db8::1"),
        ("[203.0.113.7]:80", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::FFFF:cb00:7107", "203.0.113.7"),
        ("::ffff:203.0.113.7:4711", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:4711", "203.0.113.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8:0:0:0:0:0:1:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:443", "fe80::1"),
        ("203.0.113.7%eth0", "203.0.113.7"),
        ("", ""),
        ("unknown", ""),
        ("_hidden", ""),
        ("localhost", ""),
        ("203.0.113.999", ""),
        ("203.0.113.7:http", ""),
        ("203.0.113.7:80:90", ""),
        ("[2001:db8::1", ""),
        ("[[2001:db8::1]]", ""),
        ("२०३.0.113.7", ""),
        ("203.0.113.7:४७", ""),
        ("203.0.113.7\x00", ""),
        ("2" * 200_000, ""),
        ("203.0.113.7:" + "4" * 200, ""),
    ],
)
def test_an_address_is_read_in_every_form_that_a_proxy_gives_it(written: str, address: str) -> None:
    assert read_address(written) == address


@given(st.ip_addresses(), st.integers(0, 65535))
def test_a_port_never_makes_another_client(address: object, port: int) -> None:
    text = str(address)
    with_port = f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
    assert read_address(with_port) == read_address(text) != ""


@given(st.text(max_size=150))
def test_whatever_is_written_an_address_or_nothing_is_read(text: str) -> None:
    once = read_address(text)
    assert len(once) <= 45
    assert once.isascii()
    assert read_address(once) == once


@pytest.mark.parametrize(
    ("header", "hops", "address"),
    [
        ("203.0.113.7", 1, "203.0.113.7"),
        ("10.9.9.9, 203.0.113.7:80", 1, "203.0.113.7"),
        ("203.0.113.7, 10.0.0.1", 2, "203.0.113.7"),
        ('"10.9.9.9, 203.0.113.7', 1, "203.0.113.7"),
        ('10.9.9.9, ", 203.0.113.7', 1, "203.0.113.7"),
        ("nonsense", 1, ""),
        ("203.0.113.7", 2, None),
        ("", 1, None),
        ("203.0.113.7", 0, None),
    ],
)
def test_only_what_trusted_proxies_wrote_is_believed(header: str, hops: int, address: str | None) -> None:
    assert forwarded_address(header, hops) == address


@pytest.mark.parametrize(
    ("written", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.7:443", "203.0.113.7/32"),
        ("203.0.113.7/24", "203.0.113.0/24"),
        ("[2001:db8::1]", "2001:db8::1/128"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("fe80::1%eth0", "fe80::1/128"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_is_read_in_one_form(written: str, network: str) -> None:
    assert read_network(written) == network


@pytest.mark.parametrize(
    "written", ["", "x", "10.0.0.0/33", "10.0.0.0/", "fe80::1%eth0/64", "/8", "10.0.0.0/8/8", "1" * 5000]
)
def test_what_is_no_network_is_refused(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the library has several texts
        read_network(written)
