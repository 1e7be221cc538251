"""Install the chosen release, and roll back killed releases."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tuf.api.exceptions import DownloadHTTPError, RepositoryError

from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError
from pocketrec_bundle.manifest import parse_manifest
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.engines.select import lacks_runtime
from pocketrec_edge.errors import EngineError, SelfTestFailedError
from pocketrec_edge.events import release_outcomes as outcomes
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases import blocklist
from pocketrec_edge.releases.crash_loop import counted_self_test
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync import too_new
from pocketrec_edge.sync.files import ReleaseFiles
from pocketrec_edge.sync.policy import ReleaseChoice, choose_again
from pocketrec_edge.sync.rollout import DeviceInfo, DeviceState
from pocketrec_edge.sync.too_new import NewerReleases
from pocketrec_edge.sync.transfer import BusyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """The phone that installs a release.

    Attributes:
        home: the phone's folder.
        store: the installed releases.
        info: the properties by which releases are chosen.
        state: its releases.
        self_test: called with a new release; raises if the release must not become active.
        engine: the inference engine of the app; "auto": any installed engine.
    """

    home: PhoneHome
    store: Store
    info: DeviceInfo
    state: DeviceState
    self_test: Callable[[Bundle], object]
    engine: str = "auto"


def follow(
    phone: Phone, selection: ReleaseChoice, files: ReleaseFiles, newer: NewerReleases, now_utc: int
) -> tuple[ReleaseChoice, bool, NewerReleases]:
    """Install the first release of the list that this app can read.

    A release that needs a newer app is skipped and reported as APP_TOO_OLD, not as a failure.

    Args:
        phone: the phone.
        selection: the chosen release.
        files: fetches the release's files.
        newer: releases already known to need a newer app.
        now_utc: unix seconds.

    Returns:
        The release chosen in the end, whether it was installed, and the releases that need a
        newer app.
    """
    while True:
        try:
            return selection, install(phone, selection, files, now_utc), newer
        except BundleTooNewError as err:
            sha = selection.choice.manifest
            if sha is None:  # nothing was chosen, so nothing was read
                raise
            outcomes.record(phone.home, sha, outcomes.APP_TOO_OLD, now_utc)
            newer = too_new.note(phone.home, newer, sha, f"release {selection.name(sha)}: {err}")
            state = replace(phone.state, too_new=frozenset(newer.why))
            selection = choose_again(selection, phone.info, state, now_utc)


def install(phone: Phone, selection: ReleaseChoice, files: ReleaseFiles, now_utc: int) -> bool:
    """Install the chosen release and roll back killed ones; returns whether it installed one.

    Raises:
        BundleTooNewError: the app is too old for the release.
        BundleInvalidError, DownloadError, RepositoryError: the release cannot be fetched, or
            is not as signed.
        EngineError, SelfTestFailedError: it does not work here; it is blocked from now on.
        PocketRecError: the release cannot be stored.
    """
    sha, changed, store = selection.choice.manifest, False, phone.store
    try:
        if sha is not None:
            manifest = files.manifest(sha)
            _, damaged = store.open_active()
            changed = sha != store.active()[0] or damaged is not None or bool(store.lacks(sha))
            if changed:
                _install_release(phone, sha, manifest, files, now_utc)
    finally:  # remove killed releases even if no replacement was installed
        killed = selection.killed & set(filter(None, store.active()))
        blocklist.set_killed(phone.home, killed)
        if killed:
            store.roll_back(killed)
    return changed


def _install_release(
    phone: Phone, sha: str, manifest: bytes, files: ReleaseFiles, now_utc: int
) -> None:
    """Install a release; record the outcome if the release is the cause."""
    home = phone.home
    try:
        if why := lacks_runtime(parse_manifest(manifest), phone.engine):
            raise BundleTooNewError(f"{why}. Update the app.")
        phone.store.install(manifest, files.fetch, counted_self_test(home, sha, phone.self_test))
    except (SelfTestFailedError, EngineError):
        outcomes.record(home, sha, outcomes.SELF_TEST_FAILED, now_utc)
        blocklist.block(home, sha)
        raise
    except (BusyError, BundleTooNewError):  # the release is not the cause
        raise
    except (BundleInvalidError, RepositoryError, DownloadHTTPError):
        outcomes.record(home, sha, outcomes.DOWNLOAD_FAILED, now_utc)
        raise
    outcomes.record(home, sha, outcomes.INSTALLED, now_utc)
