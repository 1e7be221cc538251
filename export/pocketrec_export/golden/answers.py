"""Golden cases, answered by the reference device path.

Real histories go through the models; edge cases and the rules' slates need none.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.features import History
from pocketrec_bundle.golden.edges import FILE as EDGES_FILE
from pocketrec_bundle.golden.edges import GoldenEdges
from pocketrec_bundle.golden.features import FILE as FEATURES_FILE
from pocketrec_bundle.golden.features import GoldenFeatures
from pocketrec_bundle.golden.rules import FILE as RULES_FILE
from pocketrec_bundle.golden.vectors import Golden, GoldenCase
from pocketrec_bundle.manifest import FileEntry
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.writer import BundleWriter
from pocketrec_edge.engines.select import ENGINES, MODELS, open_engine, runtime
from pocketrec_edge.errors import EngineError, SelfTestFailedError
from pocketrec_edge.faults import joined
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.slate import Slate
from pocketrec_edge.releases import stages
from pocketrec_edge.releases.golden_edges import shortest
from pocketrec_edge.releases.golden_history import golden_history
from pocketrec_edge.releases.selftest import check_slate
from pocketrec_export.errors import GateRefusedError
from pocketrec_export.golden.edges import edges
from pocketrec_export.golden.features import golden_features
from pocketrec_export.golden.rules import golden_rules

_SLACK = 2.0

NOW_AFTER_S = 3600
"""A golden request comes an hour after the history's last event."""


def blank_cases(
    histories: list[tuple[str, History]], ids: list[str], default_now: int
) -> list[GoldenCase]:
    """Turn named histories (rows in canonical order of `ids`) into cases without answers."""
    cases = []
    for name, past in histories:
        now = int(past.ts[-1]) + NOW_AFTER_S if len(past) else default_now
        cases.append(
            GoldenCase(
                name=name,
                now_utc=now,
                item_ids=tuple(ids[row] for row in past.rows),
                events=tuple(map(int, past.events)),
                ts=tuple(map(int, past.ts)),
                user_vector=(),
                candidates=(),
                slate_ids=(),
                slate_scores=(),
            )
        )
    return cases


def answer(device: Recommender, cases: list[GoldenCase]) -> list[GoldenCase]:
    """Return the cases with a device's answers.

    Raises:
        EngineError: a model does not load or run.
    """
    return [_answered(case, _ask(device, case)) for case in cases]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenAnswers:
    """Golden vectors, of every stage too, and how many cases were left out.

    Attributes:
        golden: requests that the models answer.
        edges: histories and searches that are rare among real users.
        stages: arrays by stage, for the cases of `golden`.
        left_out: cases whose order of items depends on rounding.
        features: cases of declared features; None: the release has none.
    """

    golden: Golden
    edges: GoldenEdges
    stages: stages.Arrays
    left_out: int
    features: GoldenFeatures | None = None

    @property
    def unmade(self) -> list[str]:
        """Cases that the release cannot show."""
        return [*self.edges.unmade, *(self.features.unmade if self.features else ())]


def answered(draft: Bundle, blank: list[GoldenCase], *, force: bool = False) -> GoldenAnswers:
    """Answer cases by the default files of a release, its models complete, and set tolerances.

    A tolerance is twice the largest difference between the pairs of the release's files on the
    installed runtimes, because a phone can run any pair that its runtime loads. A case whose order
    of items differs between pairs is omitted: it would test rounding, not a client.

    Args:
        draft: the release.
        blank: cases without answers.
        force: go on also where most cases had to be left out.

    Raises:
        GateRefusedError: the files disagree on more than half of the cases.
        EngineError: a file does not load or run.
    """
    devices = list(_devices(draft))
    answers = answer(devices[0], blank)
    found = [[_ask(device, case) for case in blank] for device in devices[1:]]
    vector, score = 1e-4, 1e-5
    for slates in found:
        for case, slate in zip(answers, slates, strict=True):
            off = np.abs(slate.user_vector - np.array(case.user_vector, np.float32)).max()
            known = dict(zip(case.slate_ids, case.slate_scores, strict=True))
            apart = [abs(i.score - known[i.item_id]) for i in slate.items if i.item_id in known]
            vector = max(vector, _SLACK * float(off))
            score = max([score, *(_SLACK * each for each in apart)])
    golden = Golden(cases=tuple(answers), vector_tolerance=vector, score_tolerance=score)
    stable = tuple(
        case
        for at, case in enumerate(answers)
        if all(_holds(slates[at], case, golden) for slates in found)
    )
    left_out = len(answers) - len(stable)
    if 2 * left_out > len(answers) and not force:
        raise GateRefusedError(
            f"the release's own files disagree on {left_out} of {len(answers)} golden slates, so "
            "there is little to prove a phone by. Train longer, or ship anyway with --force."
        )
    golden = replace(golden, cases=stable)
    recorded = stages.record(devices[0], golden)
    for device in devices[1:]:
        again = stages.record(device, golden, recorded)["probabilities"]
        apart = np.abs(again - recorded["probabilities"]).max(initial=0.0)
        golden = replace(golden, score_tolerance=max(golden.score_tolerance, _SLACK * float(apart)))
    return GoldenAnswers(
        golden=golden,
        edges=edges(draft),
        stages=recorded,
        left_out=left_out,
        features=golden_features(draft),
    )


def slate_scores(draft: Bundle, cases: list[GoldenCase]) -> NDArray[np.float64]:
    """Return the scores of the slates of cases, answered by the default files; float64 [any].

    Cases without a slate of the models are skipped, such as a user who has had every item.

    Raises:
        EngineError: a file does not load or run.
    """
    device = next(_devices(draft))
    found: list[float] = []
    for case in cases:
        history = golden_history(device.bundle, case)
        slate = device.recommend(Query(history, case.now_utc, policy_alone=True))
        if not slate.faults:
            found += [item.score for item in slate.items]
    return np.array(found, np.float64)


def add(writer: BundleWriter, made: GoldenAnswers) -> None:
    """Add golden vectors to a bundle: requests with answers, every stage between, edge cases."""
    writer.add("golden.json", canonical_json(made.golden.to_json()), "json")
    add_cases(writer, made.edges, made.features)
    for stage, array in made.stages.items():
        writer.add(f"golden/{stage}", encode_array(array), "array")


def add_cases(
    writer: BundleWriter, made: GoldenEdges, features: GoldenFeatures | None = None
) -> None:
    """Add the golden cases that need no model."""
    writer.add(EDGES_FILE, canonical_json(made.to_json()), "json")
    if features is not None:
        writer.add(FEATURES_FILE, canonical_json(features.to_json()), "json")
    writer.add(RULES_FILE, canonical_json(golden_rules().to_json()), "json")


def _devices(draft: Bundle) -> Iterator[Recommender]:
    """Every pair of a release's files that runs here; the defaults of its first engine first."""
    for engine in ENGINES:
        if not runtime(engine):
            continue
        towers, rankers = (_shipped(draft, model, engine) for model in MODELS)
        for tower in towers:
            for ranker in rankers:
                yield Recommender(
                    draft,
                    engine,
                    models=(
                        open_engine(draft.path(tower.name), engine),
                        open_engine(draft.path(ranker.name), engine),
                    ),
                )


def _shipped(draft: Bundle, model: str, engine: str) -> list[FileEntry]:
    """Files that some target ships, the default first; all, if the release names no targets."""
    files = draft.manifest.models(model, engine)
    return [file for file in files if file.meta.get("targets")] or files


def _ask(device: Recommender, case: GoldenCase) -> Slate:
    history = golden_history(device.bundle, case)
    slate = device.recommend(Query(history, case.now_utc, policy_alone=True))
    if slate.faults:
        raise EngineError(f"{case.name}: {joined(slate.faults)}")
    return slate


def _answered(case: GoldenCase, slate: Slate) -> GoldenCase:
    return replace(
        case,
        user_vector=shortest(slate.user_vector),
        candidates=tuple(map(int, slate.candidates[: stages.FIRST])),
        slate_ids=tuple(item.item_id for item in slate.items),
        slate_scores=shortest(np.array([item.score for item in slate.items], np.float32)),
    )


def _holds(slate: Slate, case: GoldenCase, golden: Golden) -> bool:
    try:
        check_slate("", slate, case, golden)
    except SelfTestFailedError:
        return False
    return True
