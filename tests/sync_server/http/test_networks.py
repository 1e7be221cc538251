"""Which addresses count as one network."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_server.http.networks import UNKNOWN, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("192.0.2.255", "192.0.2.0/24"),
        ("192.0.3.0", "192.0.3.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("::FFFF:C000:207", "192.0.2.0/24"),
        ("2002:c000:207::1", "192.0.2.0/24"),  # 6to4 gives a /48 to each IPv4 address
        ("2001:db8:7::1", "2001:db8:7::/48"),
        ("2001:DB8:7:ffff:ffff:ffff:ffff:ffff", "2001:db8:7::/48"),
        ("2001:db8:8::1", "2001:db8:8::/48"),
        ("::7", "::/48"),  # the old "IPv4-compatible" form names no IPv4 network
        ("::1", "::/48"),
        ("fe80::1%eth0", "fe80::/48"),
    ],
)
def test_addresses_of_a_block_share_a_network(address, network):
    assert network_of(address) == network


def test_low_ipv6_addresses_are_not_mistaken_for_ipv4():
    assert network_of("::192.0.2.7") == network_of("::1") == "::/48"


@pytest.mark.parametrize("text", ["", "unknown", "192.0.2.7:443", "_hidden", "1.2.3", "a" * 5000])
def test_texts_that_are_not_addresses_share_one_network(text):
    assert network_of(text) == UNKNOWN


@given(st.ip_addresses())
def test_an_address_lies_in_its_network(address):
    network = ipaddress.ip_network(network_of(str(address)))
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    assert (inner or address) in network
    assert network.prefixlen == (24 if network.version == 4 else 48)
