"""Listen for hints that a release was published (server-sent events, WHATWG HTML 9.2).

A hint only starts a sync; its content is not trusted. The connection is closed if the server sends
anything but short lines.
"""

import json
import re
from collections.abc import Generator, Iterator
from contextlib import closing

import urllib3

from pocketrec_edge.errors import SyncError
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.http import Network, Pace
from pocketrec_edge.sync.server_address import checked
from pocketrec_edge.sync.words import plain

MAX_LINE = 1024
QUIET_S = 40.0
"""Timeout without a line, in seconds; the server sends keep-alives more often."""
_CHUNK = 1024


def hints(
    server_url: str, channel: str, last: str | None, most_s: float
) -> Generator[str | None, None, None]:
    """Yield the id of each hint, and None for each keep-alive line.

    Args:
        server_url: the server's address, such as http://127.0.0.1:8080.
        channel: the channel to follow.
        last: id of the last hint received; later hints are sent at once.
        most_s: maximum wait for a line, in seconds.

    Raises:
        SyncError: the server does not answer, has too many listeners or sends something else.
        RequestInvalidError: `server_url` is not an address.
    """
    url = f"{checked(server_url)}/v1/hints"
    headers = {"Accept": "text/event-stream"}
    if last is not None:
        headers["Last-Event-ID"] = last
    network = Network(Pace(timeout_s=min(QUIET_S, most_s), least=0))
    try:
        response = network.ask("GET", f"{url}?channel={channel}", headers)
        with closing(response):
            if response.status != 200:
                raise SyncError(f"{url}: answered with {response.status}.")
            yield from _events(url, response)
    except urllib3.exceptions.HTTPError as err:
        raise SyncError(f"{url}: {plain(err)}.") from err


def known(home: PhoneHome, channel: str) -> str | None:
    """Return the id of the hint for the metadata that this device already has."""
    try:
        snapshot = json.loads((home.trusted_metadata / "snapshot.json").read_bytes())
        meta = snapshot["signed"]["meta"]
        roles = (meta.get(f"{role}.json", {}) for role in (channel, "brake"))
        return ".".join(str(int(role.get("version", 0))) for role in roles)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _events(url: str, response: urllib3.BaseHTTPResponse) -> Iterator[str | None]:
    rest, id_, is_publish = b"", "", False
    while chunk := response.read1(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            field, _, value = line.rstrip(b"\r").partition(b":")
            if field == b"id":
                id_ = re.sub(r"[^!-~]", "?", value.strip()[:MAX_LINE].decode("ascii", "replace"))
            elif field == b"event":
                is_publish = value.strip() == b"publish"
            elif not line.rstrip(b"\r"):
                yield id_ if is_publish else None
                is_publish = False
        if len(rest) > MAX_LINE:
            raise SyncError(f"{url}: did not send hints.")
