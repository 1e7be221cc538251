"""Give a phone the release that was chosen, and take from it what is killed."""

from collections.abc import Callable
from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError, RepositoryError

from bundle.errors import BundleInvalid
from bundle.reader import Bundle
from edge_runtime import outcomes, refusals
from edge_runtime.errors import EngineError, SelfTestFailed
from edge_runtime.store import Store
from edge_runtime.sync_choice import Wanted
from edge_runtime.sync_files import ReleaseFiles
from edge_runtime.sync_transfer import Busy
from edge_runtime.trial import watched


def bring(
    home: Path,
    store: Store,
    found: Wanted,
    files: ReleaseFiles,
    self_test: Callable[[Bundle], object],
    now_utc: int,
) -> bool:
    """Install what is chosen, and leave what is killed; returns whether anything was installed.

    Raises:
        BundleInvalid, DownloadError, RepositoryError: the release did not come, or not as signed.
        EngineError, SelfTestFailed: it does not work here, and is refused from now on.
        PocketRecError: it cannot be stored.
    """
    sha, changed = found.choice.manifest, False
    try:
        if sha is not None:
            manifest = files.manifest(sha)
            _, damaged = store.open_active()
            changed = sha != store.active()[0] or damaged is not None or bool(store.lacks(sha))
            if changed:
                _install(home, store, sha, manifest, files, self_test, now_utc)
    finally:  # what is killed goes, though nothing came in its place
        killed = found.killed & set(filter(None, store.active()))
        refusals.set_killed(home, killed)
        if killed:
            store.leave(killed)
    return changed


def _install(
    home: Path,
    store: Store,
    sha: str,
    manifest: bytes,
    files: ReleaseFiles,
    self_test: Callable[[Bundle], object],
    now_utc: int,
) -> None:
    """Install a release, and note how that went where it tells of the release."""
    try:
        store.install(manifest, files.fetch, watched(home, sha, self_test))
    except (SelfTestFailed, EngineError):
        outcomes.record(home, sha, outcomes.SELF_TEST_FAILED, now_utc)
        refusals.refuse(home, sha)
        raise
    except Busy:  # no fault of the release
        raise
    except (BundleInvalid, RepositoryError, DownloadHTTPError):
        outcomes.record(home, sha, outcomes.DOWNLOAD_FAILED, now_utc)
        raise
    outcomes.record(home, sha, outcomes.INSTALLED, now_utc)
