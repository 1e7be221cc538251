"""The address of a sync server, checked before anything is asked."""

from urllib.parse import urlsplit

from pocketrec_edge.errors import RequestInvalidError


def checked(address: str) -> str:
    """Return an address without its last slash.

    Raises:
        RequestInvalidError: it is not http or https with a host, or its port is no number.
    """
    try:
        parts = urlsplit(address)
        is_good = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not parts.query
            and not parts.fragment
            and address.isprintable()
            and " " not in address
        )
    except ValueError:  # of the port, or an IPv6 address
        is_good = False
    if not is_good:
        raise RequestInvalidError(
            f"{address[:200]!r} is no address of a server. Give one such as http://127.0.0.1:8080."
        )
    return address.rstrip("/")
