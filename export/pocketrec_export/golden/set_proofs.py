"""Proofs of model sets: what each set's ranker answers to the features of the golden cases."""

import numpy as np

from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.manifest import FileEntry
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.model_sets import proof_file, set_files, set_names
from pocketrec_bundle.writer import BundleWriter
from pocketrec_edge.engines.select import ENGINES, runtime
from pocketrec_edge.releases.set_test import answers
from pocketrec_edge.releases.stages import Arrays

_SLACK = 2.0
_LEAST = 1e-5


def add_set_proofs(
    writer: BundleWriter, draft: Bundle, golden: Golden, stages: Arrays
) -> dict[str, float]:
    """Add the proof of each model set of a release; return the tolerance by set.

    A tolerance is twice the largest difference between the files of the set on the installed
    runtimes, as in `answers.answered`.

    Args:
        writer: of the release.
        draft: the release with all its models.
        golden: its golden cases.
        stages: their recorded stages.

    Raises:
        InputError: no runtime for a file of the set is installed here.
        EngineError: a file does not load or run.
    """
    tolerances = {}
    for name in set_names(draft.manifest):
        found = [
            answers(draft, entry, engine, golden, stages)
            for engine in ENGINES
            if runtime(engine)
            for entry in _shipped(draft, name, engine)
        ]
        if not found:
            raise InputError(
                f"model set {name}: no runtime for its files is installed here, so it cannot be "
                "proved. Install one with: pip install 'pocketrec[edge]'."
            )
        first, *others = found
        apart = [float(np.abs(one - first).max(initial=0.0)) for one in others]
        tolerances[name] = max([_LEAST, *(_SLACK * each for each in apart)])
        file = proof_file(name)
        writer.add(file, encode_array(first), "array", score_tolerance=tolerances[name])
    return tolerances


def _shipped(draft: Bundle, name: str, engine: str) -> list[FileEntry]:
    """Files that some target ships, the default first; all, if the release names no targets."""
    files = set_files(draft.manifest, name, engine)
    return [file for file in files if file.meta.get("targets")] or files
