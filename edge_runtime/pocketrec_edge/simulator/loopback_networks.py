"""Many networks on one machine: each is a /24 of 127.0.0.0/8, all of which is the loopback (Linux).

The server sees the real source address of each connection, so no proxy has to be pretended.
"""

import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from pocketrec_bundle.errors import InputError

MOST_NETWORKS = 1 << 14
_FIRST_BLOCK = 64
"""Second byte of the first address: 127.0.0.0/16 and its neighbours are left to servers."""


def address_in(network: int) -> str:
    """Return the source address of a client in network 0..16383.

    Example:
        >>> address_in(0), address_in(300)
        ('127.64.0.1', '127.65.44.1')
    """
    return f"127.{_FIRST_BLOCK + (network >> 8)}.{network & 255}.1"


def check_networks(networks: int, server: str) -> None:
    """Check that this machine can reach the server from so many networks.

    Args:
        networks: wanted, 1..16384; 1 is always possible.
        server: its address, such as http://127.0.0.1:8080.

    Raises:
        InputError: the server is not on the loopback, or the system has no such addresses.
    """
    if networks == 1:
        return
    host = urlsplit(server).hostname or ""
    if not _is_loopback(host):
        raise InputError(
            f"{networks} networks: {host} is not a loopback address of IPv4. Networks are simulated"
            " by loopback addresses, so serve on 127.0.0.1, or leave --networks out."
        )
    with socket.socket() as probe:
        try:
            probe.bind((address_in(networks - 1), 0))
        except OSError as err:
            raise InputError(
                f"{networks} networks: this system cannot send from {address_in(networks - 1)} "
                f"({err.strerror or err}). Linux can. Leave --networks out."
            ) from err


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        found = ip_address(host)
    except ValueError:
        return False
    return found.version == 4 and found.is_loopback
