"""Evaluate a release, other rules or weights on exported events (`pocketrec policy-value`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pocketrec.policy.replay import Release, Replay, replay
from pocketrec_bundle.encoding.strict_json import MAX_JSON_BYTES, parse_json
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiment_arms import weights_of
from pocketrec_bundle.settings.rules import Rules
from pocketrec_edge.recommend.query import Overrides
from pocketrec_experiments.errors import PolicyValueRefusedError
from pocketrec_experiments.off_policy import (
    Limits,
    PolicyValue,
    SlatePolicy,
    WeightedLog,
    evaluate,
    item_position,
    position_based,
)
from pocketrec_experiments.off_policy.examination import (
    Examination,
    examination_curve,
    fit_examination,
)
from pocketrec_experiments.off_policy.exported import Rewards
from pocketrec_experiments.off_policy.tables import read_requests

ITEM_POSITION, POSITION_BASED = ASSUMPTIONS = ("item-position", "position-based")
LEAST_AGREEMENT = 0.95
"""Minimum share of requests whose logging policy is replayed as logged, position-based."""
LEAST_CLICKS = 50
"""Minimum rewarded explored impressions from which examination is fitted; 50 give eta to about
0.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to evaluate, on which events.

    Attributes:
        bundle: folder of the target.
        events: folder of `pocketrec events export`.
        rules: file in the form of `rules.json`, in place of the target's; None: its own.
        weights: of some heads of the ranker, in place of the target's.
        logged: folders of further releases that may have shown the logged slates.
        rewards: what an impression earns.
        assumption: one of `ASSUMPTIONS`.
        eta: examination of place k is k ** -eta; None: fitted on explored impressions.
        most: about so many requests.
        limits: when a value is refused.
        engine: litert, onnx or auto.
    """

    bundle: Path
    events: Path
    rules: Path | None = None
    weights: Mapping[str, float] | None = None
    logged: Sequence[Path] = ()
    rewards: Rewards = Rewards()  # noqa: RUF009 - frozen
    assumption: str = ITEM_POSITION
    eta: float | None = None
    most: int | None = None
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    engine: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The value of a target, and from which requests.

    Attributes:
        target: name of the target's bundle.
        release: first digits of its manifest's hash.
        assumption: one of `ASSUMPTIONS`.
        value: the estimates.
        agreement: see `Replay`; None where the logging release is not at hand.
        unanswered: requests that are left out because the target's models did not answer, by the
            source of its answer.
        left_out: requests that cannot be evaluated, by reason.
        learns: whether the target's rules learn from impressions; then their state in each request
            is that of the exported impressions before it.
        examination: the fitted curve; None: given, or not used.
    """

    target: str
    release: str
    assumption: str
    value: PolicyValue
    agreement: float | None
    unanswered: dict[str, int]
    left_out: dict[str, int]
    learns: bool
    examination: Examination | None


def policy_value(question: Question) -> Found:
    """Estimate what the target would have earned in the logged requests.

    Raises:
        PolicyValueRefusedError: the log cannot tell.
        BundleInvalidError: a bundle or the rules fail a check.
        EventsInvalidError: the folder of events is not an export.
        InputError: an option does not fit the data.
    """
    target = Release(question.bundle, question.engine)
    overrides = _overrides(question, target)
    known = [Release(folder, question.engine) for folder in question.logged]
    requests = read_requests(question.events, question.rewards, most=question.most)
    if not len(requests.user):
        reasons = ", ".join(f"{n:,} {why}" for why, n in requests.left_out.items()) or "it is empty"
        raise PolicyValueRefusedError(
            f"{question.events}: no request can be evaluated: {reasons}.", code="no_slates"
        )
    by_place = question.assumption == ITEM_POSITION
    replayed = replay(requests, target, overrides, known, by_place=by_place)
    _check_answered(replayed, len(requests.user), question.limits)
    fitted: Examination | None = None
    if by_place:
        # A logging policy that is not replayed as it was would prove wrong support.
        exact = replayed.logging if replayed.agreement == 1 else None
        weighted = item_position(replayed.log, replayed.target, exact)
    else:
        weighted, fitted = _position_based(replayed, question.eta)
    try:
        value = evaluate(weighted, question.limits)
    except PolicyValueRefusedError as err:
        if err.code == "no_support" and by_place:
            hint = " A target that only orders items otherwise: --assume position-based."
            raise PolicyValueRefusedError(f"{err}{hint}", code=err.code) from err
        raise
    return Found(
        target=target.bundle.manifest.name,
        release=target.name,
        assumption=question.assumption,
        value=value,
        agreement=None if replayed.logging is None else replayed.agreement,
        unanswered=replayed.unanswered,
        left_out=requests.left_out,
        learns=target.learns(overrides),
        examination=fitted,
    )


def _check_answered(replayed: Replay, n_requests: int, limits: Limits) -> None:
    """Refuse a target that answers only a part of the requests: others may earn less."""
    share = sum(replayed.unanswered.values()) / n_requests
    if share > limits.unsupported:
        sources = ", ".join(f"{n:,} by {source}" for source, n in replayed.unanswered.items())
        raise PolicyValueRefusedError(
            f"no support: the target's models did not answer {share:.1%} of the requests "
            f"({sources}); at most {limits.unsupported:.1%} may be left out. Check its models with "
            "`pocketrec verify`, or allow more with --unsupported.",
            code="no_support",
        )


def _overrides(question: Question, target: Release) -> Overrides:
    found = Overrides()
    if question.rules is not None:
        with question.rules.open("rb") as stream:
            data = stream.read(MAX_JSON_BYTES + 1)
        rules = Rules.from_json(parse_json(str(question.rules), data), target.bundle.spec)
        found = replace(found, rules=rules)
    if question.weights:
        spec = target.bundle.spec
        if unknown := sorted(question.weights.keys() - set(spec.heads)):
            raise InputError(
                f"--weights: the release has no head {', '.join(unknown)}; it has "
                f"{', '.join(spec.heads)}."
            )
        found = replace(
            found, head_weights=weights_of(question.weights, spec, target.bundle.objectives)
        )
    return found


def _position_based(replayed: Replay, eta: float | None) -> tuple[WeightedLog, Examination | None]:
    """Weight the log; fit the examination if no eta is given."""
    log, logging = replayed.log, replayed.logging
    if logging is None:
        raise PolicyValueRefusedError(
            "the position-based assumption needs each release that showed the logged slates, "
            "without arms of experiments. Give their bundles with --logged, or use --assume "
            "item-position.",
            code="no_replay",
        )
    if replayed.agreement < LEAST_AGREEMENT:
        raise PolicyValueRefusedError(
            "the replayed logging release gives the logged propensities in "
            f"{replayed.agreement:.1%} of the requests; expected {LEAST_AGREEMENT:.0%} or more. "
            "Histories, chosen interests or filters differ from those on the devices. Use "
            "--assume item-position.",
            code="no_replay",
        )
    key = (log.request << 32) + log.item
    own = (logging.request << 32) + logging.item
    found, counts = np.unique(own, return_counts=True)
    at = np.minimum(np.searchsorted(found, key), len(found) - 1)
    n_places = np.where(found[at] == key, counts[at], 0)
    lacking = n_places == 0
    logging = SlatePolicy(
        request=np.concatenate([logging.request, log.request[lacking]]),
        place=np.concatenate([logging.place, log.place[lacking]]),
        item=np.concatenate([logging.item, log.item[lacking]]),
        probability=np.concatenate([logging.probability, log.propensity[lacking]]),
        features=np.zeros((len(logging.request) + int(lacking.sum()), 0)),
    )
    last = int(max(policy.place.max(initial=1) for policy in (log, logging, replayed.target)))
    fitted = None
    if eta is None:
        explored = n_places > 1  # only the pool's items may stand at several places
        fitted = fit_examination(log.place[explored], log.reward[explored] > 0)
        if fitted.clicks < LEAST_CLICKS:
            raise PolicyValueRefusedError(
                f"{fitted.clicks} explored impressions have a reward; fitting how much each place "
                f"is looked at needs {LEAST_CLICKS}. Give the exponent with --examination.",
                code="few_effective",
            )
        eta = fitted.eta
    weighted = position_based(log, replayed.target, logging, examination_curve(eta, last))
    return weighted, fitted
