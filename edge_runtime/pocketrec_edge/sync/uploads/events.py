"""Upload a phone's events to the server, if the user agreed (`consent.py`).

Events that cannot be uploaded stay in the log and are reported; the sync still succeeds. The
protocol is in `docs/device/privacy.md`.
"""

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import urllib3
from tuf.api.exceptions import DownloadError

from pocketrec_bundle.encoding.strict_json import is_integer
from pocketrec_bundle.errors import PocketRecError
from pocketrec_edge.errors import EventLogError, SyncError
from pocketrec_edge.events import install_id
from pocketrec_edge.events.consent import GRANTED, KEEPS_EVENTS
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.outbox import Batch
from pocketrec_edge.experiments.arm_memory import log_again
from pocketrec_edge.experiments.lost_exposures import note_sent
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.http import Network, Reply, retry_after_s
from pocketrec_edge.sync.server_address import checked
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.transfer import BusyError, NotReachedError, Retry
from pocketrec_edge.sync.words import plain, printable

SCHEMA = 1
BATCH = 500
_OK, _CONFLICT, _TOO_LARGE, _BUSY = 200, 409, 413, (429, 503)
_WAIT_S = 60  # if a busy server sends no Retry-After


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadReport:
    """The result of an upload.

    Attributes:
        sent: events that the server accepted.
        rejected: events that the server rejected. They stay in the log and are not sent again;
            `LogStatus.rejected` has the reasons.
        bytes_up: bytes of request bodies.
        fault: why some events were not sent, or None.
    """

    sent: int = 0
    rejected: int = 0
    bytes_up: int = 0
    fault: str | None = None


def grant(log: EventLog, home: PhoneHome) -> str | None:
    """Record the user's consent; return why exposures cannot be logged again, or None.

    Exposures of the time without consent are never sent. They are marked after the consent is
    recorded, because another process may log one until then.

    Raises:
        EventLogError: it could not be recorded.
    """
    before = log.consent().state
    if before != GRANTED:  # keeps the terms that were agreed to before
        log.set_consent(True)
    if before in KEEPS_EVENTS:
        try:
            log_again(home)
        except PocketRecError as err:
            return f"exposures of before the consent are not sent: {err}"
    return None


def send_events(sync_log: SyncLog, server_url: str, network: Network, retry: Retry) -> UploadReport:
    """Send the events that the user agreed to send, in batches.

    Stops when the server has all of them, or refuses more.
    """
    home = sync_log.home
    try:
        log = sync_log.existing()
    except EventLogError as err:
        return UploadReport(fault=str(err))
    if log is None:
        return UploadReport()
    done = _upload(log, lambda batch: _post(batch, home, server_url, network, retry, log))
    try:
        if log.consent().state == GRANTED and not log.fault:
            note_sent(log, home)
    except PocketRecError as err:
        return replace(done, fault=done.fault or f"exposures may not be sent: {err}")
    return done


def erase_on_server(home: PhoneHome, server_url: str, network: Network) -> int | None:
    """Erase the events of this install on the server; returns their number.

    None if the phone never sent any. Call it before `privacy.erase`, which removes the install id.

    Raises:
        SyncError: the server did not confirm the erasure.
        RequestInvalidError: `server_url` is not an address.
    """
    server_url = checked(server_url)
    known = install_id.existing(home)
    if known is None:
        return None
    failed = f"{server_url}: did not erase the events"
    try:
        reply = network.exchange("DELETE", f"{server_url}/v1/installs/{known}", {})
    except urllib3.exceptions.HTTPError as err:
        raise SyncError(f"{failed} ({plain(err)}). Try again.") from err
    if reply.status != _OK:
        raise SyncError(f"{failed} ({_failure_text(reply)}). Try again.")
    try:
        return int(json.loads(reply.data)["erased"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as err:
        raise SyncError(f"{failed} (its answer lacks the number of events). Try again.") from err


def _upload(log: EventLog, post: Callable[[Batch], tuple[Reply, int]]) -> UploadReport:
    """Send all batches; check the consent before each."""
    done = UploadReport(fault=log.fault)
    renamed = False
    try:
        while not done.fault and (batch := log.next_batch(BATCH)):
            if until := log.waits_until():
                return replace(done, fault=f"the server wants no events before {_utc(until)}")
            reply, n_bytes = post(batch)
            done = replace(done, bytes_up=done.bytes_up + n_bytes)
            if reply.status == _OK:
                rejected = _rejected(reply, batch)
            elif reply.status == _TOO_LARGE and len(batch.events) == 1:
                rejected = {0: f"too large: {_failure_text(reply)}"}
            elif reply.status == _CONFLICT and not renamed:
                log.forget_batch()
                renamed = True
                continue
            else:
                if reply.status in _BUSY:
                    log.wait(int(retry_after_s(reply.headers, time.time())) or _WAIT_S)
                return replace(done, fault=f"events were {_failure_text(reply)}; they are kept")
            log.acknowledge(batch, rejected)
            done = replace(
                done,
                sent=done.sent + len(batch.events) - len(rejected),
                rejected=done.rejected + len(rejected),
            )
    except (DownloadError, ValueError, PocketRecError) as err:
        return replace(done, fault=f"events could not be sent ({err}); they are kept")
    return done


def _post(
    batch: Batch, home: PhoneHome, server_url: str, network: Network, retry: Retry, log: EventLog
) -> tuple[Reply, int]:
    """Send a batch; return the reply and the body's bytes. The server ignores duplicates."""
    body = {
        "schema": SCHEMA,
        "batch": batch.id,
        "install_id": install_id.install_id(home),
        "consent": True,
        "events": [asdict(event) for event in batch.events],
    }
    text = json.dumps(body, separators=(",", ":"))
    data = gzip.compress(text.encode(), 6, mtime=0)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    url = f"{server_url.rstrip('/')}/v1/events"

    def once() -> Reply:
        if log.consent().state != GRANTED:  # withdrawn between two tries
            raise EventLogError("the user no longer agrees")
        try:
            reply = network.post(url, headers, data)
        except urllib3.exceptions.HTTPError as err:
            raise NotReachedError(plain(err)) from err
        if reply.status >= 500 and "Retry-After" not in reply.headers:
            raise BusyError(reply.status, 0.0)
        return reply

    return retry.run(once), len(data)


def _rejected(reply: Reply, batch: Batch) -> dict[int, str]:
    """Return the reasons of rejected events by their place in the batch.

    Raises:
        ValueError: the reply does not acknowledge this batch.
    """
    try:
        answer = json.loads(reply.data)
        rejected = {row["place"]: row["reason"] for row in answer["rejected"]}
        whole = (answer["batch"], answer["accepted"] + len(rejected)) == (
            batch.id,
            len(batch.events),
        )
    except (KeyError, TypeError, RecursionError) as err:
        raise ValueError("the server's reply is not an acknowledgement of events") from err
    places = range(len(batch.events))
    if not whole or not all(
        is_integer(at, 0, places[-1]) and isinstance(why, str) for at, why in rejected.items()
    ):
        raise ValueError("the reply acknowledges another batch")
    return rejected


def _failure_text(reply: Reply) -> str:
    """Describe a reply that reports a failure."""
    try:
        why = f": {printable(str(json.loads(reply.data)['error']))}"
    except (ValueError, KeyError, TypeError, RecursionError):
        why = ""
    return f"answered with {reply.status}{why}"


def _utc(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
