"""Test the ranker of a model set by its proof: its answers in the golden cases of the release."""

import numpy as np

from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.golden.set_proof import read_proof
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.manifest import FileEntry
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.model_sets import set_of
from pocketrec_edge.engines.select import open_engine, open_model
from pocketrec_edge.errors import SelfTestFailedError
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.releases.stages import Arrays, read_stages, record


def check_ranker(bundle: Bundle, entry: FileEntry, engine: str) -> float:
    """Run a ranker of a model set on the golden cases; return its error by the tolerance, 0..1.

    Args:
        bundle: the release.
        entry: the ranker.
        engine: of the ranker.

    Raises:
        SelfTestFailedError: an answer is off by more than the tolerance, or there is no proof.
        EngineError: a model does not load or run, or an answer is not finite.
        BundleInvalidError: a file is damaged or of another form.
    """
    golden, name = Golden.of(bundle), set_of(entry)
    if (expected := read_stages(bundle, golden)) is None:
        raise SelfTestFailedError(
            f"{entry.name}: the release has no files golden/STAGE to prove it"
        )
    proof = read_proof(bundle, name, len(golden.cases))
    found = answers(bundle, entry, engine, golden, expected)
    off = float(np.abs(found - proof.probabilities).max(initial=0.0))
    if not off <= proof.tolerance:
        raise SelfTestFailedError(
            f"{entry.name} on {engine}: a probability is off by {off:.2g}, the tolerance is "
            f"{proof.tolerance:.2g}"
        )
    return off / proof.tolerance if proof.tolerance else 0.0


def answers(
    bundle: Bundle, entry: FileEntry, engine: str, golden: Golden, expected: Arrays
) -> Floats32:
    """Return what a ranker answers to the recorded features of golden cases, float32 [n, 20, H].

    Raises:
        EngineError: a model does not load or run, or an answer is not finite.
    """
    models = open_model(bundle, "user_tower", engine), open_engine(bundle.path(entry.name), engine)
    device = Recommender(bundle, engine, models=models)
    return np.asarray(record(device, golden, expected)["probabilities"], np.float32)
