"""All that a device takes from a release, and what it makes of it with models that do little."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.declared.encoded import is_coded
from pocketrec_bundle.declared.item_features import input_widths
from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.features import FeatureSpec, History
from pocketrec_bundle.golden.edges import GoldenEdges
from pocketrec_bundle.golden.features import GoldenFeatures
from pocketrec_bundle.golden.rules import GoldenRules
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.items.cohorts import CODES_FILE, ROWS_FILE
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.events.feedback import Impressions
from pocketrec_edge.recommend.filters import Filters
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.releases.golden_history import golden_history
from pocketrec_edge.releases.stages import check_cases

ARRAYS = ("index/centroids", "index/offsets", "index/rows", "items/popular")
NEIGHBOUR_ARRAYS = tuple(f"items/neighbour{name}" for name in ("s", "_scales", "_weights"))
NOW_UTC = 1_700_000_000


def answers(bundle: Bundle) -> str:
    """Read everything a device reads; two releases with the same answers give the same text.

    Raises:
        BundleInvalidError: a part that is only checked when it is read fails its check.
    """
    digest = hashlib.sha256()
    names = (*ARRAYS, *(NEIGHBOUR_ARRAYS if bundle.spec.neighbours else ()))
    if bundle.cohorts is not None:
        names = (*names, CODES_FILE, ROWS_FILE)
    columns = (bundle.scales, bundle.categories, bundle.numeric, bundle.available)
    for array in (*(bundle.array(name) for name in names), *(column[:] for column in columns)):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    rows = list(range(bundle.item_count))
    ids = [bundle.item_id(row) for row in rows]
    assert ids == bundle.item_ids()
    found = [bundle.row_of(item_id) for item_id in [*ids, "", "no such item", "\udc80"]]
    golden, edges, rules = Golden.of(bundle), GoldenEdges.of(bundle), GoldenRules.of(bundle)
    parts: list[Any] = [ids, found, bundle.spec.to_json(), bundle.policy.to_json()]
    parts += [golden.to_json(), bundle.rules.to_json() if bundle.rules else None]
    parts += [each and each.to_json() for each in (edges, rules, GoldenFeatures.of(bundle))]
    parts.append(bundle.features.to_json())
    if bundle.item_features is not None:
        inputs = bundle.item_features.inputs(np.array(rows))
        parts += [[name, array.tolist()] for name, array in inputs.items()]
    audience = bundle.audience.of_items(bundle.item_count)
    parts += [bundle.audience.region_names, audience.regions, audience.age_ratings.tolist()]
    parts.append(bundle.campaigns.to_json())
    parts.append([repr(item) for item in bundle.catalogue([*rows, -1])])
    digest.update(canonical_json(parts))
    return digest.hexdigest()


def serve(bundle: Bundle) -> int:
    """Answer requests, without models (popular items) and with stand-ins; returns how many.

    Raises:
        AssertionError: a model would have been given what FORMAT.md rules out.
    """
    spec, n = bundle.spec, bundle.item_count
    golden = Golden.of(bundle)
    requests = [(golden_history(bundle, case), case.now_utc) for case in golden.cases]
    rows = np.arange(n, dtype=np.int32)
    past = History(rows, np.zeros(n, np.int32), np.arange(n, dtype=np.int64))
    requests += [(History.empty(), NOW_UTC), (past, NOW_UTC)]
    device = Recommender(bundle)
    for history, now in requests:
        device.recommend(Query(history, now))
    device._tower, device._ranker = MeanTower(spec), FirstColumn(spec, bundle.features)
    check_cases(device)
    filters = Filters(none_of=spec.categories[:1], region="r01", max_age_rating=12)
    shown = Impressions(rows=rows, followed=rows % 3 == 0)
    for history, now in requests:
        device.recommend(Query(history, now, filters=filters))
        rng = np.random.default_rng(0)
        slate = device.recommend(Query(history, now, rng=rng, impressions=shown, showings={}))
        assert len({item.row for item in slate.items}) == len(slate.items)
        assert all(0 <= item.row < n for item in slate.items)
    return 2 * len(requests)


class MeanTower:
    """Stands in for the user tower: the mean of the vectors, once the inputs are as they must be.

    An interpreter looks event codes up in a table and trusts them to be inside it.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec

    def run(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        spec, events = self._spec, inputs["history_events"]
        vectors = inputs["history_vectors"]
        assert vectors.shape == (1, spec.max_history, spec.dim)
        assert vectors.dtype == np.float32
        assert events.shape == (1, spec.max_history)
        assert 0 <= events.min() <= events.max() <= len(spec.event_types)
        mean: NDArray[Any] = vectors.mean(axis=1)
        return mean


class FirstColumn:
    """Stands in for the ranker: every head gives the first pair column, cut to 0..1."""

    def __init__(self, spec: FeatureSpec, declared: FittedFeatures) -> None:
        self._spec, self._widths = spec, input_widths(declared)
        self._codes = [
            one.n_codes for one in declared.items if is_coded(one.feature) for _ in range(one.width)
        ]

    def run(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        spec, codes = self._spec, inputs["item_categories"]
        assert inputs["item_vectors"].shape == (spec.candidates, spec.dim)
        assert inputs["pair"].shape == (spec.candidates, len(spec.pair))
        assert inputs["context"].shape == (1, len(spec.context))
        assert codes.shape == (spec.candidates, spec.max_categories)
        assert 0 <= codes.min(initial=0) <= codes.max(initial=0) <= len(spec.categories)
        for name, width in self._widths.items():
            assert inputs[name].shape == (spec.candidates, width)
            assert np.isfinite(inputs[name]).all()
        if self._codes:
            assert (inputs["item_codes"] >= 0).all()
            assert (inputs["item_codes"] <= self._codes).all()
        return np.repeat(inputs["pair"][:, :1].clip(0, 1), len(spec.heads), axis=1)
