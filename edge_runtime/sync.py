"""Fetch the newest release of a channel, verified by TUF from a pinned root; send events back.

Only this file, sync_transfer.py and sync_files.py import python-tuf; they and sync_events.py open
sockets.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import Updater, UpdaterConfig

from bundle.reader import Bundle
from edge_runtime.cipher import Cipher
from edge_runtime.errors import SyncError
from edge_runtime.store import Store
from edge_runtime.sync_events import grant, send_events
from edge_runtime.sync_files import ReleaseFiles
from edge_runtime.sync_transfer import DELTA, FULL, METADATA, RETRY, Retry, Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What a sync did; bytes count HTTP bodies, those down are metadata, whole files and deltas.

    A file whose delta did not work counts in full_bytes, and its delta in delta_bytes.
    events_fault is why nothing is known of the user's consent, so that no event was sent.
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
    transfer = Transfer(retry)
    before, _ = store.active()
    try:
        updater = _updater(home, server_url, root_path, transfer)
        updater.refresh()
        info = updater.get_targetinfo(f"channels/{channel}/manifest.json")
        if info is None:
            raise SyncError(f"{server_url}: has no channel {channel!r}.")
        path = home / "tuf" / f"{channel}.manifest.json"
        if updater.find_cached_target(info, str(path)) is None:
            retry.run(lambda: updater.download_target(info, str(path)))
        after = info.hashes["sha256"]
        files = ReleaseFiles(updater, transfer, store, _targets_url(server_url))
        bundle, _ = store.open_active()
        intact = before == after and bundle is not None and not store.lacks(after)
        if not intact:
            store.install(path.read_bytes(), files.fetch, self_test)
    except (DownloadError, DownloadHTTPError) as err:
        said = str(err) or "no answer"  # python-tuf raises some without a word
        raise SyncError(f"{server_url}: {said}. The release on this phone stays.") from err
    except RepositoryError as err:
        raise SyncError(
            f"{server_url}: what it sent is not to be trusted ({err}). The release on this phone "
            "stays."
        ) from err
    except OSError as err:
        raise SyncError(f"{home}: {err}. The release on this phone stays.") from err
    sent, bytes_up, events_fault = send_events(home, server_url, cipher)
    return SyncReport(
        status="current" if intact else "updated",
        from_release=before,
        to_release=after,
        bytes_down=transfer.bytes.total(),
        metadata_bytes=transfer.bytes[METADATA],
        full_bytes=transfer.bytes[FULL],
        delta_bytes=transfer.bytes[DELTA],
        bytes_up=bytes_up,
        requests=transfer.requests,
        files_fetched=files.fetched,
        files_by_delta=files.by_delta,
        events_sent=sent,
        events_fault=events_fault,
        seconds=round(time.monotonic() - started, 3),
    )


def _updater(home: Path, server_url: str, root_path: Path | None, transfer: Transfer) -> Updater:
    folder = home / "tuf"
    folder.mkdir(parents=True, exist_ok=True)
    trusted = (folder / "root.json").exists()
    if not trusted and root_path is None:
        raise SyncError(
            f"{home}: no trusted root yet. Give the root that came with the app: --root 1.root.json"
        )
    root = root_path.read_bytes() if root_path and not trusted else None
    return Updater(
        str(folder),
        f"{server_url.rstrip('/')}/metadata/",
        str(folder),
        _targets_url(server_url),
        transfer,
        UpdaterConfig(app_user_agent="pocketrec"),
        bootstrap=root,
    )


def _targets_url(server_url: str) -> str:
    return f"{server_url.rstrip('/')}/targets/"
