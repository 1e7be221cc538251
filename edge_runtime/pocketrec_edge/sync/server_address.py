"""Check the address of a sync server before the first request."""

from urllib.parse import urlsplit

from pocketrec_edge.errors import RequestInvalidError


def checked(address: str) -> str:
    """Check an address and return it without trailing slashes.

    Raises:
        RequestInvalidError: it is not http or https with a host, or its port is not a number.
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
            f"{address[:200]!r} is not the address of a server. Give an address such as "
            "http://127.0.0.1:8080."
        )
    return address.rstrip("/")
