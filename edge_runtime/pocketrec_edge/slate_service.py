"""Answer one request of an app: release, history, recommender, pages, event log.

`SlateService.answer` names the steps. A page that was shown before comes again as it was; every
other answer is ranked. Without a release the popular list answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.reader import Bundle
from pocketrec_edge.answers import Answer
from pocketrec_edge.events.paging import MAX_ITEMS, Session
from pocketrec_edge.events.slate_events import new_request
from pocketrec_edge.experiments.device_experiments import DeviceExperiments
from pocketrec_edge.experiments.interleaved_slate import interleaved_slate
from pocketrec_edge.experiments.slate_arms import SlateArms
from pocketrec_edge.faults import Fault
from pocketrec_edge.recommend import popular_list, surfaces
from pocketrec_edge.recommend.filters import Filters
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import NO_ROWS, Query
from pocketrec_edge.recommend.rules.exploration import Random
from pocketrec_edge.running import Running
from pocketrec_edge.user_data import UserData


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateRequest:
    """What an app asks for, checked; see `Device.recommend` for each field."""

    k: int | None
    exclude_seen: bool | None
    filters: Filters | None
    log_impressions: bool
    page: int | None
    session: str | None
    scene: str
    item_id: str | None
    results: Sequence[str]
    deadline_ms: float | None


class SlateService:
    """Answers the requests of one phone, one after the other."""

    def __init__(
        self,
        *,
        running: Running,
        user: UserData,
        store: Path,
        clock: Callable[[], float],
        rng: Random,
        experiments: DeviceExperiments,
    ) -> None:
        self._running, self._user, self._store = running, user, store
        self._experiments = experiments
        self._clock, self.rng = clock, rng
        self.last_faults: tuple[Fault, ...] = ()

    def answer(self, request: SlateRequest) -> Answer:
        """Answer with a slate; whatever is broken is a fault of the answer."""
        self._running.refresh()
        bundle, recommender = self._running.bundle, self._running.recommender
        now = int(self._clock())
        arms = self._experiments.for_slate(bundle, request.scene, now, self._running.load_set)
        faults = self.lasting_faults()
        if recommender is None or bundle is None:
            return self._without_release(request, now, tuple(faults), arms)
        page, opened = request.page, None
        if page is not None:
            opened = self._user.sessions.open(request.session, now)
            if 1 <= page <= len(opened.pages):
                return self._shown_again(opened, page, now, faults, request.filters)
        answer = self._ranked(request, now, faults, bundle, recommender, opened, arms)
        answer = self._logged(answer, request, now, bundle.sha256, arms)
        self.last_faults = answer.faults
        return answer

    def lasting_faults(self) -> list[Fault]:
        """Faults of release, user's data and experiments, which stay until they are repaired."""
        return [*self._running.faults, *self._user.faults, *self._experiments.faults]

    def _logged(
        self, answer: Answer, request: SlateRequest, now: int, release: str, arms: SlateArms
    ) -> Answer:
        """Log a slate that has a request, with the exposures of its arms."""
        if answer.request is None:
            return answer
        log = self._user.log
        log.session_pause_s = self._experiments.session_pause_s
        answer = log.add_slate(
            answer, now, scene=request.scene, release=release, exposures=arms.exposures
        )
        if answer.request is not None:
            self._experiments.note(arms.exposures)
        return answer

    def _without_release(
        self, request: SlateRequest, now: int, faults: tuple[Fault, ...], arms: SlateArms
    ) -> Answer:
        is_search = request.scene == surfaces.SEARCH
        answer = popular_list.answer(
            self._store,
            faults,
            k=request.k,
            page=request.page,
            session=request.session,
            may_show=request.filters is None and not is_search,
        )
        answer = replace(answer, arms=arms.arms)
        if request.log_impressions and answer.items:
            answer = replace(answer, request=new_request())
            answer = self._logged(answer, request, now, "", arms)
        return replace(answer, unranked=tuple(request.results) if is_search else ())

    def _ranked(
        self,
        request: SlateRequest,
        now: int,
        faults: list[Fault],
        bundle: Bundle,
        recommender: Recommender,
        opened: Session | None,
        arms: SlateArms,
    ) -> Answer:
        """Run the recommender; of a list in pages, make the next page."""
        surface = surfaces.find(bundle, request.scene, request.item_id, request.results, faults)
        self._running.boot_counter.asked()
        log = self._user.log
        history, unknown = log.history(bundle, faults)
        rules = arms.overrides.rules or bundle.rules
        campaigns = arms.overrides.campaigns or bundle.campaigns
        impressions, showings = log.shown_before(bundle, rules, campaigns, now, faults)
        query = Query(
            self._user.with_interests(bundle, history, now),
            now,
            request.k,
            exclude_seen=request.exclude_seen,
            filters=request.filters,
            shown=NO_ROWS if opened is None else _rows(bundle, opened.shown()),
            rng=self.rng,
            impressions=impressions,
            showings=showings if request.log_impressions else None,  # only seen slates count
            surface=surface,
            deadline_ms=request.deadline_ms,
            overrides=arms.overrides,
        )
        identity = new_request()
        if arms.versus is None:
            slate = recommender.recommend(query)
        else:
            slate = interleaved_slate(recommender, query, arms.versus, identity)
        if slate.source == "model" or recommender.fault or request.deadline_ms is not None:
            self._running.boot_counter.answered()  # models that do not load here are no fault of it
        self._running.answered()
        faults += [*slate.faults, *arms.faults]
        items = slate.items
        if opened is not None:
            items = items[: max(MAX_ITEMS - len(opened.shown()), 0)]
        items = log.count_showings(items, now, faults)
        page, logged = None, identity if request.log_impressions else None
        if opened is not None:
            page = len(opened.pages) + 1
            if items:  # else the list has ended
                opened.add(items, logged, arms.arms)
            faults += self._keep(opened, now)
        ranked = {item.item_id for item in items}
        is_search = request.scene == surfaces.SEARCH
        return Answer(
            items=items,
            source=slate.source,
            faults=tuple(faults),
            release=bundle.manifest.name,
            engine=recommender.engine,
            stage_ms={name: round(ms, 3) for name, ms in slate.stage_ms.items()},
            history=len(history),
            unknown_items=unknown,
            session=None if opened is None else opened.token,
            page=page,
            unranked=tuple(one for one in request.results if is_search and one not in ranked),
            request=logged,
            arms=arms.arms,
        )

    def _shown_again(
        self,
        opened: Session,
        page: int,
        now: int,
        faults: list[Fault],
        filters: Filters | None,
    ) -> Answer:
        """Return a page as it was, without items that the release may not show now."""
        bundle, recommender = self._running.bundle, self._running.recommender
        assert bundle is not None and recommender is not None
        barred = recommender.filter_masks.of(filters).rows
        items = tuple(
            item
            for item in opened.pages[page - 1]
            for row in _rows(bundle, [item.item_id])
            if not barred[row]
        )
        faults += self._keep(opened, now)
        return Answer(
            items=items,
            source="page",
            faults=tuple(faults),
            release=bundle.manifest.name,
            engine=recommender.engine,
            session=opened.token,
            page=page,
            request=self._user.log.known(opened.requests[page - 1]),
            arms=opened.arms[page - 1],
        )

    def _keep(self, opened: Session, now: int) -> list[Fault]:
        """Store a session; returns what went wrong with the file."""
        sessions = self._user.sessions
        unreadable = sessions.fault
        return [fault for fault in (unreadable, sessions.keep(opened, now)) if fault]


def _rows(bundle: Bundle, item_ids: Sequence[str]) -> NDArray[np.int32]:
    """Rows of the ids that the release has and may show."""
    rows = np.array([bundle.row_of(item_id) for item_id in item_ids], np.int32)
    rows = rows[rows >= 0]
    return rows[bundle.available[rows]]
