"""Send sums of experiments to the server, if the user agreed to them (`consent.py`).

A sync sends at most one body a day for each experiment, and never fails for it. Old servers answer
404; the phone asks again on another day. The protocol is in `docs/device/privacy.md`.
"""

import json
import time
from dataclasses import replace

import urllib3

from pocketrec_bundle.disk.locks import LockedFile
from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.errors import SyncError
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.events.consent import SENDS_SUMS
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.experiments.signed_experiments import read_experiments
from pocketrec_edge.experiments.sums_memory import SumsMemory, encrypt_sums, keep_sums, read_sums
from pocketrec_edge.experiments.sums_outbox import Due, due_sums
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.http import Network, Reply, retry_after_s
from pocketrec_edge.sync.server_address import checked
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.words import plain

_OK, _NOT_FOUND, _BUSY = 200, 404, (429, 503)
_WAIT_S = 3600  # if a busy server sends no Retry-After
_HEADERS = {"Content-Type": "application/json"}


def send_sums(sync_log: SyncLog, server_url: str, network: Network, now_utc: int) -> int:
    """Send the sums that are due; return how many bodies the server stored.

    Whatever fails is tried again at a later sync, with newer sums.
    """
    home, cipher = sync_log.home, sync_log.cipher
    try:
        log, signed = sync_log.existing(), read_experiments(home)
        if log is None or (signed is None and not home.sums.exists()):
            return 0
        with LockedFile(home.sums_lock):
            encrypt_sums(home, cipher)
            memory = read_sums(home, cipher)
            if (kept := memory.without_old(now_utc)) != memory:
                keep_sums(home, kept, cipher)
            if signed is None or log.fault or kept.waits(now_utc):
                return 0
            stored = 0
            for due in due_sums(log, signed, kept, now_utc):
                status = _send(log, sync_log, server_url, network, due, now_utc)
                stored += status == _OK
                if status != _OK:
                    break
            return stored
    except (PocketRecError, OSError):
        return 0


def erase_sums_on_server(
    home: PhoneHome, server_url: str, network: Network, cipher: Cipher | None = None
) -> int | None:
    """Erase the sums of this phone on the server; returns their number.

    None if the phone never sent any. Call it before `privacy.erase`, which removes the ids.

    Args:
        home: the phone's folder.
        server_url: address of the server.
        network: sends the requests.
        cipher: the app's, if the phone's memory is encrypted.

    Raises:
        EventLogError: the memory is encrypted, and the cipher is missing or has another key.
        SyncError: the server did not confirm the erasure.
        RequestInvalidError: `server_url` is not an address.
    """
    server_url = checked(server_url)
    runs = read_sums(home, cipher).runs
    if not runs:
        return None
    erased, failed = 0, f"{server_url}: did not erase the sums"
    for run in runs:
        try:
            reply = network.exchange("DELETE", f"{server_url}/v1/sums/{run.id}", {})
            if reply.status == _NOT_FOUND:  # of a server that never took sums
                continue
            if reply.status != _OK:
                raise SyncError(f"{failed} (it answered with {reply.status}). Try again.")
            erased += int(json.loads(reply.data)["erased"])
        except urllib3.exceptions.HTTPError as err:
            raise SyncError(f"{failed} ({plain(err)}). Try again.") from err
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as err:
            raise SyncError(f"{failed} (its answer lacks their number). Try again.") from err
    return erased


def _send(
    log: EventLog, sync_log: SyncLog, server_url: str, network: Network, due: Due, now_utc: int
) -> int:
    """Send one body; return the status of the answer, 0 without one."""
    home, cipher = sync_log.home, sync_log.cipher
    keep_sums(home, read_sums(home, cipher).with_run(due.run), cipher)
    if log.consent().state not in SENDS_SUMS:  # withdrawn since the sums were computed
        return 0
    try:
        url = f"{server_url.rstrip('/')}/v1/sums"
        reply = network.post(url, _HEADERS, due.body.to_bytes())
    except urllib3.exceptions.HTTPError:
        return 0
    memory = read_sums(home, cipher)
    if (current := memory.find(due.run.key)) is None or current.id != due.run.id:
        return 0  # the user's data were erased in the meantime
    is_stored = reply.status == _OK
    kept = memory.with_run(due.sent) if is_stored else _waiting(memory, reply, now_utc)
    keep_sums(home, kept, cipher)
    return reply.status


def _waiting(memory: SumsMemory, reply: Reply, now_utc: int) -> SumsMemory:
    wait_s = DAY_S
    if reply.status in _BUSY:
        wait_s = min(int(retry_after_s(reply.headers, time.time())) or _WAIT_S, DAY_S)
    return replace(memory, wait_from_utc=now_utc, wait_until_utc=now_utc + wait_s)
