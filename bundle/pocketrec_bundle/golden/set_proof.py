"""Proof of a model set: what its ranker answers to the features of the golden cases."""

from dataclasses import dataclass

import numpy as np

from pocketrec_bundle.encoding.array_checks import expect_finite, expect_form
from pocketrec_bundle.encoding.strict_json import is_number
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.model_sets import is_ranker, proof_file, set_files, set_names

PROVED = 20
"""Candidates of each golden case in the proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetProof:
    """What the ranker of a set answers to the features of the golden cases.

    Attributes:
        probabilities: float32 [n, 20, heads], as `golden/probabilities`.
        tolerance: largest error of a probability, at least 0.
    """

    probabilities: Floats32
    tolerance: float


def read_proof(bundle: Bundle, name: str, cases: int) -> SetProof:
    """Return the proof of a set.

    Args:
        bundle: the release.
        name: of the set.
        cases: golden cases of the release.

    Raises:
        BundleInvalidError: it is missing, of another form, or without a tolerance.
    """
    file = proof_file(name)
    tolerance = bundle.manifest.entry(file).meta.get("score_tolerance")
    if not isinstance(tolerance, int | float) or not is_number(tolerance, 0):
        raise BundleInvalidError(
            f"{file}: score_tolerance must be a number from 0", code="golden_value"
        )
    array = bundle.array(file)
    expect_form(file, array, "f4", (cases, PROVED, len(bundle.spec.heads)))
    expect_finite(file, array)
    return SetProof(probabilities=np.asarray(array), tolerance=float(tolerance))


def check_sets(bundle: Bundle, cases: int) -> None:
    """Refuse a release whose model sets do not serve the devices of its own models.

    Args:
        bundle: the release.
        cases: golden cases of the release.

    Raises:
        BundleInvalidError: a set lacks its proof, or a ranker for an engine of the release.
    """
    manifest = bundle.manifest
    own = {str(entry.meta.get("engine")) for entry in manifest.files if is_ranker(entry)}
    for name in set_names(manifest):
        read_proof(bundle, name, cases)
        for engine in sorted(own):
            if not set_files(manifest, name, engine):
                raise BundleInvalidError(
                    f"{manifest.name}: model set {name} has no ranker for {engine}, and the "
                    "release has one. Export it again.",
                    code="file_unlisted",
                )
