"""A phone: its store, its event log, its clock; it answers whatever is broken.

`Device` is the entry point of an app. It holds wiring: `slate_service.py` answers requests,
`running.py` has the release, `user_data.py` what belongs to the user. Only `sync/` opens sockets;
events and outcomes leave with consent only, interests and the bucket id never.
"""

import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pocketrec_bundle.reader import Bundle
from pocketrec_edge.answers import Answer
from pocketrec_edge.device_status import Status, read_status
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.retention import Retention
from pocketrec_edge.experiments.device_experiments import DeviceExperiments
from pocketrec_edge.experiments.experiment_actions import ExperimentActions
from pocketrec_edge.one_at_a_time import one_at_a_time
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.recommend import request_checks, surfaces
from pocketrec_edge.recommend.filters import Filters
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.rules.exploration import Random, SystemRandom
from pocketrec_edge.releases import blocklist
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.releases.store import Store
from pocketrec_edge.running import Running
from pocketrec_edge.slate_service import SlateRequest, SlateService
from pocketrec_edge.sync.bucket_id import bucket_id
from pocketrec_edge.user_actions import UserActions
from pocketrec_edge.user_data import UserData

if TYPE_CHECKING:
    from pocketrec_edge.recommend.explain import Explanation
    from pocketrec_edge.sync.client import SyncReport
    from pocketrec_edge.sync.conditions import Conditions

_DEFAULT_LIMITS = Retention()


class Device(UserActions, ExperimentActions):
    """One phone: recommend offline, log what the user does, install releases, sync.

    Threads may share it; their requests run one after the other. Open one for as long as the app
    runs, and close it at the end, or use it in a `with` block.

    Example:
        A folder `phone`, and a release in the folder `bundle`:

        >>> with Device(Path("phone"), engine="onnx") as device:
        ...     sha256 = device.install(Path("bundle"))
        ...     answer = device.recommend(3)
        ...     event = device.feedback(answer.items[0].item_id, "like")
        ...     again = device.recommend(3)
        >>> [item.item_id for item in answer.items]
        ['item 14', 'item 15', 'item 21']
        >>> answer.source, answer.faults, again.history
        ('model', (), 1)
    """

    def __init__(
        self,
        home: Path,
        *,
        bundle: Path | None = None,
        engine: str = "auto",
        limits: Retention | None = _DEFAULT_LIMITS,
        cipher: Cipher | None = None,
        clock: Callable[[], float] = time.time,
        rng: Random | None = None,
        storage_bytes: int | None = None,
        threads: int = 1,
        bundle_dir: Path | None = None,
    ) -> None:
        """Open the phone; a missing or broken release or log is a fault in the answers.

        Args:
            home: the phone's folder; made by the first install, sync or event.
            bundle: answer from this bundle folder instead of the installed release.
            engine: that runs the models: "litert", "onnx", or "auto" for the installed one.
            limits: how long and how large the event log may be; None: for ever.
            cipher: encrypts the event log with the app's key; sync and export need it too.
            clock: unix seconds.
            rng: for releases that explore; by default the system's.
            storage_bytes: most that releases may take; an install beyond it is refused.
            threads: of each model.
            bundle_dir: old name of `bundle`, until version 0.3.

        Raises:
            BundleInvalidError: `bundle` was given and fails its checks.
            RequestInvalidError: `threads` or `storage_bytes` is out of its range.
        """
        request_checks.check_phone(threads, storage_bytes)
        if bundle_dir is not None:
            warnings.warn("bundle_dir is now bundle", DeprecationWarning, stacklevel=2)
            bundle = bundle or bundle_dir
        self._home = PhoneHome.of(home)
        self._home.tighten()
        self.turns = threading.RLock()
        self.home, self.store = home, Store(self._home.store, limit_bytes=storage_bytes)
        self._clock, self._engine, self._cipher = clock, engine, cipher
        self._storage_bytes = storage_bytes
        self._user = UserData(self._home, limits=limits, cipher=cipher, clock=clock)
        self._running = Running(
            self._home, self.store, engine=engine, threads=threads, clock=clock, bundle_dir=bundle
        )
        self._experiments = DeviceExperiments(
            self._home,
            bucket_id=partial(bucket_id, self._home),
            first_event=self._user.first_event,
        )
        self._slates = SlateService(
            running=self._running,
            user=self._user,
            store=self.store.root,
            clock=clock,
            rng=SystemRandom() if rng is None else rng,
            experiments=self._experiments,
        )

    def __enter__(self) -> "Device":
        """Return the phone; `close` is called at the end of the block."""
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    @one_at_a_time
    def close(self) -> None:
        """Close the event log; waits for the check of the release's large files, if one began."""
        self._user.close()
        self._running.close()

    @property
    def bundle(self) -> Bundle | None:
        """The release that answers; None if none opens."""
        return self._running.bundle

    @property
    def _recommender(self) -> Recommender | None:
        return self._running.recommender

    @property
    def _log(self) -> EventLog | None:
        return self._user.log.log

    def install(self, bundle_dir: Path) -> str:
        """Install a bundle folder after its golden vectors pass; returns the manifest's hash.

        It takes effect at once: `bundle` is the new release when this returns, unless the phone
        was opened with a folder of its own (`Device(bundle=...)`). Other processes on the same
        home answer from it at their next request.

        Args:
            bundle_dir: folder that `export_bundle` wrote.

        Raises:
            PocketRecError: it is invalid, does not run here, or cannot be stored.
        """
        sha = self.store.install_bundle(bundle_dir, lambda b: replay(b, self._engine))
        blocklist.unblock(self._home, sha)
        self._refresh()
        return sha

    def sync(
        self,
        server: str,
        *,
        root: Path | None = None,
        channel: str = "stable",
        consent: bool = False,
        self_test: Callable[[Bundle], object] | None = None,
        conditions: "Conditions | None" = None,
        app_version: str | None = None,
        device_class: str | None = None,
    ) -> "SyncReport":
        """Fetch and install the release that the channel's policy chooses; send the user's events.

        A new release takes effect at once. The release before it stays until the new one has
        passed `self_test`. Needs the `edge` or `onnx` extra, and opens sockets.

        Args:
            server: address of the sync server, such as "https://releases.example.org".
            root: the trusted root metadata that ships with the app; needed for the first sync.
            channel: whose releases to follow.
            consent: the user agrees now that events are sent; it is noted first.
            self_test: raises if a new release does not work here; by default its golden vectors
                are replayed on this phone's engine.
            conditions: network, power and hour; the policy may put the sync off. None: sync now.
            app_version: of the app, such as "1.2"; releases may be for some versions only.
            device_class: as the publisher names classes; releases may be for some only.

        Returns:
            What was installed and sent, see `SyncReport`.

        Raises:
            RequestInvalidError: `server` is not an address.
            SyncError: the server cannot be reached, or what it sent fails a check. The release on
                this phone stays.
            PocketRecError: the release fails its self-test, or cannot be stored.
        """
        from pocketrec_edge.sync.client import sync  # a phone that never syncs needs no python-tuf

        report = sync(
            self._home,
            server,
            self_test or (lambda bundle: replay(bundle, self._engine)),
            channel=channel,
            root_path=root,
            consent=consent,
            cipher=self._cipher,
            storage_bytes=self._storage_bytes,
            app_version=app_version,
            device_class=device_class,
            conditions=conditions,
            engine=self._engine,
            clock=self._clock,
        )
        self._refresh()
        return report

    @one_at_a_time
    def _refresh(self) -> None:
        self._running.refresh()

    @one_at_a_time
    def recommend(
        self,
        k: int | None = None,
        *,
        exclude_seen: bool | None = None,
        filters: Filters | None = None,
        log_impressions: bool = True,
        page: int | None = None,
        session: str | None = None,
        scene: str = surfaces.HOME,
        item_id: str | None = None,
        results: Sequence[str] = (),
        deadline_ms: float | None = None,
    ) -> Answer:
        """Answer with a slate.

        Every item is also logged as an impression, with the probability of its being shown at its
        place. Before the first release the slate is empty; if all files of all releases are
        damaged, it is the popular items of the last one installed (`popular_list.py`).

        Pages of one session never repeat an item, whatever happens between them. The answer's
        `session` is the token for the next page, its `page` the one that came: a page that was
        shown before comes as it was (`source` is then "page", and nothing is logged), a later one
        than the next is the next, and a session that has ended or is unknown begins at page 1.

        No item that fails a filter is ever shown. Names that the release does not have, and filters
        that nothing passes, are faults.

        Args:
            k: slate size, by default the release's.
            exclude_seen: leave out what the user had; by default as the release's policy says.
            filters: what all items must be; pass the same ones for all pages of a session.
            log_impressions: False for slates that nobody looks at.
            page: from 1; None: a slate of its own, which no session remembers.
            session: the token that page 1 gave.
            scene: "home", "similar" (items like `item_id`), "after" (what goes with `item_id`, once
                it was bought) or "search" (`results` in the user's order). An item that the release
                does not know leaves the home screen, and a fault.
            item_id: of "similar" and "after".
            results: ids that the app's own search found, best first; all that may be shown come
                back, and `unranked` has the others.
            deadline_ms: if ranking would probably take longer than what is left of it, the slate is
                in the order of retrieval, with the fault "deadline". None: no deadline.

        Raises:
            RequestInvalidError: an argument is of the wrong type or out of its range, or the scene
                is unknown or lacks what it needs. Nothing was logged. It is also a ValueError.
        """
        request_checks.check_slate(
            k=k,
            page=page,
            session=session,
            filters=filters,
            deadline_ms=deadline_ms,
            results=results,
        )
        surfaces.check(scene, item_id)
        request = SlateRequest(
            k=k,
            exclude_seen=exclude_seen,
            filters=filters,
            log_impressions=log_impressions,
            page=None if page is None else int(page),  # JSON cannot hold NumPy's integers
            session=session,
            scene=scene,
            item_id=item_id,
            results=results,
            deadline_ms=deadline_ms,
        )
        return self._slates.answer(request)

    @one_at_a_time
    def explain(self, item_id: str | None = None, k: int | None = None) -> "Explanation":
        """Explain a slate, or one item whether it is in the slate or not; nothing is logged.

        It takes about as long as a slate for each of the last events, see `contributions.py`.
        `items` is empty without a release.

        Args:
            item_id: this item alone.
            k: slate size, by default the release's.

        Raises:
            InputError: the release has no such item, or k is out of its range.
        """
        # A phone that only recommends never loads it.
        from pocketrec_edge.recommend.explain import Explanation, explain

        request_checks.check_k(k)
        if item_id is not None:
            request_checks.check_item(item_id)
        self._running.refresh()
        faults = self._slates.lasting_faults()
        if self._recommender is None or self.bundle is None:
            return Explanation.nothing(faults)
        now = int(self._clock())
        history, _ = self._user.log.history(self.bundle, faults)
        asked = self._user.with_interests(self.bundle, history, now)
        arms = self._experiments.for_slate(self.bundle, surfaces.HOME, now, self._running.load_set)
        slate, items = explain(
            self._recommender,
            asked,
            now,
            k,
            item_id=item_id,
            rng=self._slates.rng,
            overrides=arms.overrides,
        )
        return Explanation(
            items=items,
            slate=tuple(item.item_id for item in slate.items),
            candidates=len(slate.candidates),
            source=slate.source,
            history=len(history),
            faults=(*faults, *slate.faults, *arms.faults),
            release=self.bundle.manifest.name,
        )

    @one_at_a_time
    def status(self) -> Status:
        """Return the release, the engine, what the log holds, and the faults.

        Faults are those that last, and those of the last slate.
        """
        self._running.refresh()
        faults = (*self._slates.last_faults, *self._experiments.flag_faults)
        arms = self._experiments.assigned(self._clock())
        faults = (*self._experiments.faults, *faults)
        return read_status(self._home, self.store, self._running, self._user, faults, arms)
