"""Many networks on one machine: each is a /24 of 127.0.0.0/8, all of which is the loopback (Linux).

The server sees the real source address of each connection, so no proxy has to be pretended.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from urllib3.util import connection


def address_in(network: int) -> str:
    """Return the source address of a client in network 0..16383."""
    return f"127.{64 + (network >> 8)}.{network & 255}.1"


@contextmanager
def from_network(network: int) -> Iterator[None]:
    """Let what this process opens by urllib3 come from a network; one thread at a time."""
    plain = connection.create_connection

    def bound(*args: Any, **kwargs: Any) -> Any:
        return plain(*args, **kwargs | {"source_address": (address_in(network), 0)})

    connection.create_connection = bound
    try:
        yield
    finally:
        connection.create_connection = plain
