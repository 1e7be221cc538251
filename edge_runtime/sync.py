"""Fetch the newest release of a channel, verified by TUF from a pinned root; send events back.

Only the files whose name begins with `sync` import python-tuf or open sockets.
"""

import fcntl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    RepositoryError,
)

from bundle.manifest import MAX_MANIFEST_BYTES
from bundle.reader import Bundle
from bundle.rollout import ACTIVE, MAX_BYTES, RolloutPolicy
from edge_runtime.cipher import Cipher
from edge_runtime.errors import SyncError
from edge_runtime.store import Store
from edge_runtime.sync_events import grant, send_events
from edge_runtime.sync_files import ReleaseFiles
from edge_runtime.sync_http import PACE, Network, Pace
from edge_runtime.sync_metadata import Trusted
from edge_runtime.sync_transfer import DELTA, FULL, METADATA, RETRY, Retry, Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What a sync did; bytes count HTTP bodies, those down are metadata, whole files and deltas.

    A file whose delta did not work counts in full_bytes, and its delta in delta_bytes.
    events_fault is why events were not sent, or not all; they stay, and the sync is none the worse.
    """

    status: str
    from_release: str | None
    to_release: str
    bytes_down: int
    metadata_bytes: int
    full_bytes: int
    delta_bytes: int
    bytes_up: int
    requests: int
    files_fetched: int
    files_by_delta: int
    events_sent: int
    events_rejected: int
    events_fault: str | None
    seconds: float


def sync(
    home: Path,
    server_url: str,
    self_test: Callable[[Bundle], object],
    *,
    channel: str = "stable",
    root_path: Path | None = None,
    consent: bool = False,
    cipher: Cipher | None = None,
    storage_bytes: int | None = None,
    retry: Retry = RETRY,
    pace: Pace = PACE,
) -> SyncReport:
    """Bring a phone up to date; send its events if the user has agreed, see `consent.py`.

    Args:
        home: the phone's folder.
        server_url: as http://127.0.0.1:8080.
        self_test: must pass on a new release before it becomes active.
        channel: whose release to follow.
        root_path: trusted root metadata, shipped with the app; needed for the first sync only.
        consent: the user agrees now; this is noted before anything else is done.
        cipher: the app's, where the event log is encrypted.
        storage_bytes: most that releases may take, see `Store`.
        retry: of requests that get no answer.
        pace: how fast answers may and must come.

    Raises:
        EventLogError: the consent could not be noted.
        SyncError: the server cannot be reached, or what it sent fails a check. The phone keeps
            the release that it had.
        PocketRecError: the release fails its self-test, or cannot be stored.
    """
    started = time.monotonic()
    if consent:
        grant(home, cipher)
    store = Store(home / "store", limit_bytes=storage_bytes)
    network = Network(pace)
    transfer = Transfer(retry, network)
    before, _ = store.active()
    lock = _alone(home)
    try:
        trusted = Trusted(home, server_url, transfer)
        data, after = trusted.check(root_path, partial(_newest, channel=channel))
        files = ReleaseFiles(trusted, transfer, store, channel)
        bundle, _ = store.open_active()
        intact = before == after and bundle is not None and not store.lacks(after)
        if not intact:
            store.install(data, files.fetch, self_test)
        trusted.forget_others()
    except (DownloadError, DownloadHTTPError) as err:
        said = str(err) or "no answer"  # python-tuf raises some without a word
        raise SyncError(f"{server_url}: {said}. The release on this phone stays.") from err
    except ExpiredMetadataError as err:
        today = time.strftime("%Y-%m-%d", time.gmtime())
        raise SyncError(
            f"{server_url}: {err}: nobody signed it again in time, or this phone's clock is wrong, "
            f"which says {today}. The release on this phone stays."
        ) from err
    except RepositoryError as err:
        raise SyncError(
            f"{server_url}: what it sent is not to be trusted ({err}). The release on this phone "
            "stays."
        ) from err
    except OSError as err:
        raise SyncError(f"{home}: {err}. The release on this phone stays.") from err
    finally:
        lock.close()
    events = send_events(home, server_url, cipher, network, retry)
    return SyncReport(
        status="current" if intact else "updated",
        from_release=before,
        to_release=after,
        bytes_down=transfer.bytes.total(),
        metadata_bytes=transfer.bytes[METADATA],
        full_bytes=transfer.bytes[FULL],
        delta_bytes=transfer.bytes[DELTA],
        bytes_up=events.bytes_up,
        requests=network.requests,
        files_fetched=files.fetched,
        files_by_delta=files.by_delta,
        events_sent=events.sent,
        events_rejected=events.rejected,
        events_fault=events.fault,
        seconds=round(time.monotonic() - started, 3),
    )


def _alone(home: Path) -> BinaryIO:
    """Lock a phone's metadata for one sync; the kernel frees it if its holder is killed."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        stream = (home / "sync.lock").open("wb")
    except OSError as err:
        raise SyncError(f"{home}: cannot be written ({err.strerror or err}).") from err
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        stream.close()
        raise SyncError(f"{home}: another sync is running.") from err
    return stream


def _newest(trusted: Trusted, channel: str) -> tuple[bytes, str]:
    """The newest release of a channel that is active: its manifest, and the manifest's hash."""
    told = trusted.read(f"channels/{channel}/policy.json", MAX_BYTES)
    if told is None:
        raise SyncError(f"channel {channel!r} has no release there.")
    policy = RolloutPolicy.from_bytes(told)
    stage = next((each for each in policy.releases if each.state == ACTIVE), None)
    if stage is None:
        raise SyncError(f"channel {channel!r} has no active release.")
    data = trusted.read(f"channels/{channel}/{stage.manifest}.json", MAX_MANIFEST_BYTES)
    if data is None or sha256(data).hexdigest() != stage.manifest:
        raise SyncError(f"release {stage.manifest[:12]} is named and not signed.")
    return data, stage.manifest
