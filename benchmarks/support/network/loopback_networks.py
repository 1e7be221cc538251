"""Let a block of a test come from one of many networks, see `pocketrec_edge.simulator`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from urllib3.util import connection

from pocketrec_edge.simulator.loopback_networks import address_in


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
