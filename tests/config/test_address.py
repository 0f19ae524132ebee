"""An address is a host and a port; what is not says why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import address
from gateway.config.address import Address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:2775", "127.0.0.1", 2775),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("[::1]:65535", "::1", 65535),
        ("[2001:DB8:0::1]:1", "2001:db8::1", 1),
        ("smsc.carrier.example:2776", "smsc.carrier.example", 2776),
        ("localhost:1", "localhost", 1),
    ],
)
def test_an_address_has_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert Address(host, port) == address.parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("127.0.0.1", "no port"),
        ("127.0.0.1:", "not a number"),
        ("127.0.0.1:+1", "not a number"),
        ("127.0.0.1:²", "not a number"),
        ("127.0.0.1:65536", "above 65535"),
        (":2775", "no host"),
        ("::1:2775", "without brackets"),
        ("[::g]:1", "not an IPv6 address"),
        ("256.0.0.1:1", "not an IPv4 address"),
        ("bad host:1", "neither an IP address nor a name"),
    ],
)
def test_what_is_no_address_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        address.parse(text)


@given(st.one_of(st.ip_addresses(), st.just("a.example")), st.integers(0, 65535))
def test_an_address_reads_what_it_writes(host: object, port: int) -> None:
    written = str(Address(str(host), port))

    assert written == str(address.parse(written))
