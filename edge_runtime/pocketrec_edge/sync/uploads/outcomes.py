"""Report the outcome of each release to the server, if the user agreed that events are sent."""

import json

import urllib3

from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events import release_outcomes as outcomes
from pocketrec_edge.events.consent import GRANTED
from pocketrec_edge.sync.http import Network
from pocketrec_edge.sync.sync_log import SyncLog


def send_outcomes(sync_log: SyncLog, server_url: str, channel: str, network: Network) -> int:
    """Send the outcomes that were not sent yet; returns how many the server accepted.

    Outcomes from a time without the user's consent are never sent. If the server cannot be reached
    or the consent cannot be read, they wait for the next sync; this sync still succeeds.
    """
    home = sync_log.home
    if not (pending := outcomes.pending(home)):
        return 0
    try:
        log = sync_log.existing()
        agreed = log is not None and log.consent().state == GRANTED
    except EventLogError:
        return 0
    if not agreed:
        outcomes.finish(home, [one.id for one in pending])
        return 0
    rows = [{"id": one.id, "manifest": one.manifest, "outcome": one.outcome} for one in pending]
    body = {"consent": True, "channel": channel, "outcomes": rows}
    try:
        reply = network.post(
            f"{server_url.rstrip('/')}/v1/outcomes",
            {"Content-Type": "application/json"},
            json.dumps(body).encode(),
        )
        if reply.status != 200:
            return 0
        answer = json.loads(reply.data)
        accepted, rejected = [*answer["accepted"]], [row["id"] for row in answer["rejected"]]
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError, RecursionError):
        return 0
    outcomes.finish(home, [*accepted, *rejected])
    return len(accepted)
