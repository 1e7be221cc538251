"""The network of a client's address: the unit of rate limits.

One client often has many addresses: 256 of an IPv4 block, or 2^64 and more of an IPv6 prefix.
A limit per address does not bind such a client, so limits count networks.
"""

from ipaddress import IPv6Address, ip_address, ip_network

IPV4_PREFIX, IPV6_PREFIX = 24, 48
"""Prefix lengths of networks: the smallest blocks that are routed separately."""
UNKNOWN = "unknown"
"""Network of all texts that are not IP addresses, so that invented texts share one limit."""


def network_of(address: str) -> str:
    """Return the network of an address in CIDR notation, or `UNKNOWN`.

    IPv4 addresses that are written as IPv6 (`::ffff:192.0.2.7`, and `2002:c000:207::` of 6to4)
    belong to their IPv4 network.

    Example:
        >>> network_of("192.0.2.7"), network_of("2001:db8:7:1::9")
        ('192.0.2.0/24', '2001:db8:7::/48')
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return UNKNOWN
    if isinstance(parsed, IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is None:
            return str(ip_network((int(parsed), IPV6_PREFIX), strict=False))
        parsed = inner
    return str(ip_network((int(parsed), IPV4_PREFIX), strict=False))
