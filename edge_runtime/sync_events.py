"""Send a phone's events to the server, if its user has agreed, see `consent.py`."""

import json
from dataclasses import asdict
from pathlib import Path

import urllib3

from edge_runtime.cipher import Cipher
from edge_runtime.consent import GRANTED
from edge_runtime.errors import EventLogError, SyncError
from edge_runtime.event_schema import FILE_NAME
from edge_runtime.eventlog import EventLog
from edge_runtime.install_id import install_id
from edge_runtime.sync_http import Network

BATCH = 500


def grant(home: Path, cipher: Cipher | None) -> None:
    """Note that the user agrees.

    Raises:
        EventLogError: it could not be noted.
    """
    log = EventLog(home / FILE_NAME, cipher=cipher)
    try:
        if log.consent().state != GRANTED:  # keeps the terms that were agreed to before
            log.set_consent(True)
    finally:
        log.close()


def send_events(
    home: Path, server_url: str, cipher: Cipher | None, network: Network
) -> tuple[int, int, str | None]:
    """Send what the user agreed to; returns events and bytes sent, and why the log is unread."""
    path = home / FILE_NAME
    if not path.exists():
        return 0, 0, None
    try:
        log = EventLog(path, cipher=cipher)
    except EventLogError as err:
        return 0, 0, str(err)
    try:
        return *_upload(log, home, server_url, network), log.fault
    finally:
        log.close()


def _upload(log: EventLog, home: Path, server_url: str, network: Network) -> tuple[int, int]:
    """Send events that no server has acknowledged; returns their number and the bytes sent.

    Consent is asked for anew with each batch: a withdrawal holds from the next one on.
    """
    sent = bytes_up = 0
    try:
        while batch := log.pending(BATCH):
            body = {
                "install_id": install_id(home),
                "consent": True,
                "events": [asdict(event) for event in batch],
            }
            data = json.dumps(body).encode()
            reply = network.post(
                f"{server_url.rstrip('/')}/v1/events", {"Content-Type": "application/json"}, data
            )
            if reply.status != 200:
                raise SyncError(f"{server_url}: events were answered with {reply.status}.")
            answer = json.loads(reply.data)
            # A rejected event would be rejected again: both kinds are done with.
            done = [*answer["accepted"], *(row["id"] for row in answer["rejected"])]
            bytes_up += len(data)
            sent += len(answer["accepted"])
            log.mark_uploaded(done)
            if not set(done) & {event.id for event in batch}:
                raise SyncError(f"{server_url}: acknowledged none of the events.")
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError) as err:
        raise SyncError(f"{server_url}: events could not be sent ({err}); they are kept.") from err
    return sent, bytes_up
