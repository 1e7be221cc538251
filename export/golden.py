"""Golden cases from real histories, answered by the reference device path."""

import numpy as np

from bundle.features import History
from bundle.golden import GoldenCase
from bundle.reader import Bundle
from edge_runtime.errors import EngineError
from edge_runtime.pipeline import Recommender
from edge_runtime.selftest import golden_history

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


def answer(
    bundle: Bundle, cases: list[GoldenCase], engine: str, variant: str | None
) -> list[GoldenCase]:
    """Run cases through a release on one engine and variant and return them with the answers.

    Raises:
        EngineError: a model does not load or run.
    """
    recommender = Recommender(bundle, engine, variant)
    found = []
    for case in cases:
        slate = recommender.recommend(golden_history(bundle, case), case.now_utc)
        if slate.fault:
            raise EngineError(f"{engine} {variant}: {slate.fault}")
        found.append(
            GoldenCase(
                name=case.name,
                now_utc=case.now_utc,
                item_ids=case.item_ids,
                events=case.events,
                ts=case.ts,
                user_vector=tuple(float(v) for v in slate.user_vector),
                candidates=tuple(map(int, slate.candidates[:20])),
                slate_ids=tuple(item.item_id for item in slate.items),
                slate_scores=tuple(float(np.float32(item.score)) for item in slate.items),
            )
        )
    return found


def tolerances(
    draft: Bundle, cases: list[GoldenCase], difference: tuple[float, float], slack: float
) -> tuple[float, float]:
    """Return the tolerance of user vectors and of scores that travel with answered cases.

    Wide enough for `slack` times the difference seen between the engines, and for a phone whose
    runtime is too old for the default variant and takes another (`edge_runtime.engines`).

    Args:
        draft: the release, models and items complete.
        cases: answered by LiteRT's default variant.
        difference: of user vectors and scores between the engines.
        slack: for processors that round otherwise than this one.
    """
    vector, score = (max(1e-4, slack * off) for off in difference)
    for entry in draft.manifest.models("user_tower", "litert"):
        other = answer(draft, cases, "litert", str(entry.meta["variant"]))
        apart = largest_difference(cases, other)
        vector, score = max(vector, 2 * apart[0]), max(score, 2 * apart[1])
    return vector, score


def largest_difference(one: list[GoldenCase], two: list[GoldenCase]) -> tuple[float, float, int]:
    """Compare answers: largest user-vector and score difference, and cases whose slates differ."""
    vector = max(
        float(np.abs(np.subtract(a.user_vector, b.user_vector)).max())
        for a, b in zip(one, two, strict=True)
    )
    score, differing = 0.0, 0
    for a, b in zip(one, two, strict=True):
        known = dict(zip(b.slate_ids, b.slate_scores, strict=True))
        both = [
            abs(s - known[i])
            for i, s in zip(a.slate_ids, a.slate_scores, strict=True)
            if i in known
        ]
        score = max([score, *both])
        differing += a.slate_ids != b.slate_ids
    return vector, score, differing
