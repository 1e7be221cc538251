"""Sync a phone: install the release that the channel's policy chooses, and upload events."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    RepositoryError,
)

from pocketrec_bundle.disk.locks import LockedFile
from pocketrec_bundle.errors import BundleTooNewError, InputError, PocketRecError
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.engines.select import ENGINES
from pocketrec_edge.errors import SyncError
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.experiments import at_sync
from pocketrec_edge.experiments.signed_experiments import keep_experiments, read_facts
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases import blocklist
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync import too_new
from pocketrec_edge.sync.arm_models import follow_arm
from pocketrec_edge.sync.bucket_id import bucket_id
from pocketrec_edge.sync.conditions import Conditions, put_off, until
from pocketrec_edge.sync.files import ReleaseFiles
from pocketrec_edge.sync.http import PACE, Network, Pace
from pocketrec_edge.sync.install import Phone, follow
from pocketrec_edge.sync.metadata import TrustedMetadata, newer_specification
from pocketrec_edge.sync.policy import (
    choose_with_arm,
    keep_release,
    read_settings,
    remember,
    remembered,
)
from pocketrec_edge.sync.rollout import DeviceInfo, DeviceState
from pocketrec_edge.sync.server_address import checked
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.transfer import (
    DELTA,
    FULL,
    METADATA,
    RETRY,
    BusyError,
    NotReachedError,
    Retry,
    Transfer,
)
from pocketrec_edge.sync.uploads.events import grant, send_events
from pocketrec_edge.sync.uploads.outcomes import send_outcomes
from pocketrec_edge.sync.uploads.sums import send_sums
from pocketrec_edge.sync.wake import after_wait, next_check

UPDATED, CURRENT, STOPPED, WAITS = "updated", "current", "stopped", "waits"
APP_TOO_OLD = "app_too_old"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """The result of a sync.

    Attributes:
        status: UPDATED, CURRENT, STOPPED (the release is killed and has no replacement; only its
            lists answer), APP_TOO_OLD (a newer app would have got another release; the
            installed release stays) or WAITS (no request was sent).
        why: how the release was chosen, or the reason to wait.
        from_release: manifest hash of the active release before the sync.
        to_release: the same after the sync.
        next_check_utc: when to sync again, unix seconds.
        bytes_down: bytes of HTTP bodies received: metadata, whole files and deltas.
        metadata_bytes: of them, signed metadata.
        full_bytes: of them, whole files; includes files whose delta failed.
        delta_bytes: of them, deltas; includes deltas that failed.
        bytes_up: bytes of HTTP bodies sent.
        requests: HTTP requests.
        files_fetched: files downloaded, by delta or whole.
        files_by_delta: files made from a delta.
        events_sent: events that the server accepted.
        events_rejected: events that the server rejected; they are not sent again.
        outcomes_sent: release outcomes that the server accepted.
        sums_sent: bodies with sums of an experiment that the server stored.
        events_fault: why some events were not sent, or None. They are kept; the sync still
            succeeds.
        experiments_fault: why the channel's experiments cannot be used, or None; the phone then has
            none, or the last ones if the network failed. Or why the ranker of its arm cannot be
            used; control then answers. The sync still succeeds.
        update_app: why the phone needs a newer app, or None.
        seconds: duration of the sync.
    """

    status: str
    why: str
    from_release: str | None
    to_release: str | None
    next_check_utc: int
    bytes_down: int = 0
    metadata_bytes: int = 0
    full_bytes: int = 0
    delta_bytes: int = 0
    bytes_up: int = 0
    requests: int = 0
    files_fetched: int = 0
    files_by_delta: int = 0
    events_sent: int = 0
    events_rejected: int = 0
    outcomes_sent: int = 0
    sums_sent: int = 0
    events_fault: str | None = None
    experiments_fault: str | None = None
    update_app: str | None = None
    seconds: float = 0.0


def sync(
    home: Path | PhoneHome,
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
    app_version: str | None = None,
    device_class: str | None = None,
    conditions: Conditions | None = None,
    engine: str = "auto",
    clock: Callable[[], float] = time.time,
    source_address: str | None = None,
) -> SyncReport:
    """Install the release that the policy chooses; send events if the user agreed (`consent.py`).

    Args:
        home: the phone's folder.
        server_url: the server's address, such as http://127.0.0.1:8080.
        self_test: called with a new release; raises if the release must not become active.
        channel: the channel to follow.
        root_path: trusted root metadata, shipped with the app; only the first sync needs it.
        consent: True records the user's consent before anything else.
        cipher: the app's cipher, if the event log is encrypted.
        storage_bytes: maximum size of all releases, see `Store`.
        retry: how requests without an answer are repeated.
        pace: limits on the speed of transfers.
        app_version: version of the app, such as 1.2; a release may require a range of versions.
        device_class: the publisher's name of the device class; a release may require some classes.
        conditions: network, power and local time; None syncs under all conditions.
        engine: the inference engine of the app, litert or onnx; auto: any installed engine.
        clock: returns unix seconds.
        source_address: IP address of this machine to connect from; None: the system's choice.

    Raises:
        RequestInvalidError: `server_url` is not an address.
        EventLogError: the consent could not be recorded.
        InputError: the engine is unknown.
        SyncError: the server cannot be reached, or its answer fails a check. The phone keeps its
            release.
        PocketRecError: the release fails its self-test, or cannot be stored.
    """
    server_url = checked(server_url)
    home = PhoneHome.of(home)
    home.tighten()
    started, now = time.monotonic(), int(clock())
    if engine not in ("auto", *ENGINES):
        raise InputError(f"engine {engine!r} is unknown; choose auto or {' or '.join(ENGINES)}.")
    consent_fault: str | None = None
    with SyncLog(home, cipher) as log:
        if consent:
            consent_fault = grant(log.create(), home)
        store = Store(home.store, limit_bytes=storage_bytes)
        before, _ = store.active()
        policy, own_id = remembered(home, channel).sync, bucket_id(home)
        if conditions is not None and before and (why := put_off(conditions, policy, now)):
            return SyncReport(
                status=WAITS,
                why=why,
                from_release=before,
                to_release=before,
                next_check_utc=int(after_wait(until(conditions, policy, now), policy, own_id)),
            )
        network = Network(pace, source_address)
        transfer = Transfer(retry, network)
        info = DeviceInfo(bucket_id=own_id, app_version=app_version, device_class=device_class)
        newer = too_new.read(home, too_new.this_app(app_version), now)
        state = DeviceState(
            active=before,
            refused=blocklist.failed(home),
            too_new=frozenset(newer.why),
            by_arm=read_facts(home).arm_release,
        )
        phone = Phone(
            home=home, store=store, info=info, state=state, self_test=self_test, engine=engine
        )
        with _alone(home), _sync_errors(server_url, home):
            trusted = TrustedMetadata(home, server_url, transfer)
            fault: str | None = None
            try:
                settings = trusted.check(root_path, partial(read_settings, channel=channel), now)
                remember(home, settings.policy)
                selection, fault = choose_with_arm(home, log, settings, info, state, now)
                newer = too_new.keep_only(home, newer, selection.policy)
            except BundleTooNewError as err:
                newer = too_new.note(home, newer, too_new.POLICY, f"channel {channel}: {err}")
                selection = keep_release(home, channel, "the channel's policy needs a newer app")
                keep_experiments(home, None)
            files = ReleaseFiles(trusted, transfer, store, channel)
            try:
                changed = False
                if too_new.POLICY not in newer.why:
                    selection, changed, newer = follow(phone, selection, files, newer, now)
                    chosen = selection.choice
                    at_sync.note_choice(home, chosen.manifest, by_arm=chosen.by_arm)
                    arm = at_sync.set_of_sync(home, own_id, log.existing, now)
                    fault = follow_arm(phone, arm, files) or fault
            except (NotReachedError, BusyError):
                raise
            except (PocketRecError, RepositoryError, DownloadHTTPError):
                send_outcomes(log, server_url, channel, network)
                # Without this, events wait until the release is fixed.
                send_events(log, server_url, network, retry)
                send_sums(log, server_url, network, now)
                raise
            trusted.forget_others()
        outcomes_sent = send_outcomes(log, server_url, channel, network)
        events = send_events(log, server_url, network, retry)
        sums_sent = send_sums(log, server_url, network, now)
        after, _ = store.active()
        status = UPDATED if changed or after != before else CURRENT
        if after == before and (selection.choice.stopped or newer.why):
            status = STOPPED if selection.choice.stopped else APP_TOO_OLD
        return SyncReport(
            status=status,
            why=selection.choice.why,
            from_release=before,
            to_release=after,
            next_check_utc=int(next_check(now, selection.policy.sync, own_id)),
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
            outcomes_sent=outcomes_sent,
            sums_sent=sums_sent,
            events_fault=events.fault,
            experiments_fault=fault or consent_fault,
            update_app=newer.reason,
            seconds=round(time.monotonic() - started, 3),
        )


@contextmanager
def _sync_errors(server_url: str, home: PhoneHome) -> Iterator[None]:
    """Raise errors of python-tuf, the network and the disk as `SyncError`."""
    try:
        yield
    except (DownloadError, DownloadHTTPError) as err:
        reason = str(err) or "no answer"  # python-tuf raises some errors without a text
        raise SyncError(f"{server_url}: {reason}. The release on this phone stays.") from err
    except ExpiredMetadataError as err:
        today = time.strftime("%Y-%m-%d", time.gmtime())
        raise SyncError(
            f"{server_url}: {err}: nobody renewed its signature, or this phone's clock is wrong: "
            f"it shows {today}. The release on this phone stays."
        ) from err
    except RepositoryError as err:
        if newer_form := newer_specification(err):
            raise SyncError(
                f"{server_url}: its metadata is of TUF specification {newer_form}: update the app, "
                "if it is the publisher's. The release on this phone stays."
            ) from err
        raise SyncError(
            f"{server_url}: its answer is not to be trusted ({err}). The release on this phone "
            "stays."
        ) from err
    except OSError as err:
        raise SyncError(
            f"{err.filename or home}: {err.strerror or err}. The release on this phone stays."
        ) from err


def _alone(home: PhoneHome) -> LockedFile:
    """Lock a phone's metadata for one sync; the kernel frees it if its holder is killed."""
    try:
        home.make()
        return LockedFile(home.sync_lock)
    except BlockingIOError as err:
        raise SyncError(f"{home}: another sync is running.") from err
    except OSError as err:
        raise SyncError(f"{home}: cannot be locked ({err.strerror or err}).") from err
