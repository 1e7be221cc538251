"""Faults of a bundle, one each, with the code that every reader must give.

In: the sound bundle (`mutations/sound.py`). Out: the same with one fault. Nothing is drawn.
Files: `defect.py` is one fault; `manifests.py`, `arrays.py`, `items.py`, `features.py`,
`objectives.py`, `settings.py` (other JSON files), `proofs.py` (golden files, models), `texts.py`
(the catalogue).
"""

from pocketrec_export.conformance.defects import (
    arrays,
    features,
    items,
    manifests,
    objectives,
    proofs,
    settings,
    texts,
)
from pocketrec_export.conformance.defects.defect import Defect

__all__ = ["DEFECTS", "Defect"]

DEFECTS: tuple[Defect, ...] = (
    *manifests.DEFECTS,
    *arrays.DEFECTS,
    *items.DEFECTS,
    *features.DEFECTS,
    *objectives.DEFECTS,
    *settings.DEFECTS,
    *proofs.DEFECTS,
    *texts.DEFECTS,
)
