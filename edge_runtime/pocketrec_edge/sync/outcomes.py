"""Tell the server what became of releases here, if the user has agreed that events are sent."""

import json

import urllib3

from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events import release_outcomes as outcomes
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.events.consent import GRANTED
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.http import Network


def send_outcomes(
    home: PhoneHome, server_url: str, channel: str, cipher: Cipher | None, network: Network
) -> int:
    """Send what was not sent; returns how many the server has now.

    What came about without the user's consent is never sent. Where the server cannot be reached, or
    nothing is known of the consent, the rest waits for the next time: that is no error of a sync.
    """
    if not (told := outcomes.pending(home)):
        return 0
    try:
        agreed = _agreed(home, cipher)
    except EventLogError:
        return 0
    if not agreed:
        outcomes.finish(home, [one.id for one in told])
        return 0
    rows = [{"id": one.id, "manifest": one.manifest, "outcome": one.outcome} for one in told]
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


def _agreed(home: PhoneHome, cipher: Cipher | None) -> bool:
    if not home.event_log.exists():
        return False
    log = EventLog(home.event_log, cipher=cipher)
    try:
        return log.consent().state == GRANTED
    finally:
        log.close()
