"""Damaged and hostile forms of a bundle, each drawn from a seed; nothing here touches a disk.

Two kinds of enemy. A broken disk changes files under a manifest that stays: the hashes refuse it.
An attacker who can re-hash, or a publisher with a bug, changes files and makes the manifest fit:
then only the checks behind the hashes stand.

In: the sound bundle of a format version (`sound.py`). Out: a mutant, and the name of what was done.
Files: `files.py`, `json_values.py`, `arrays.py`, `items.py` (what arrays of items must agree on),
`catalogues.py`.
"""

import numpy as np

from benchmarks.support.mutations import arrays, catalogues, files, items, json_values
from pocketrec_export.conformance.sound import Base, Mutant, Mutator

__all__ = ["MUTATORS", "Base", "Mutant", "mutant"]

MUTATORS: dict[str, Mutator] = {
    function.__name__: function
    for function in (
        *(files.disk_damage, files.disk_swap, files.manifest_damage, files.odd_file),
        *(files.signed_damage, files.names_swapped, files.files_listed),
        *(json_values.manifest_values, json_values.json_values),
        *(arrays.array_header, arrays.array_form, arrays.array_values, arrays.wrapping_offsets),
        *(items.other_sizes, items.ids, items.cells, items.columns),
        *(catalogues.catalogue_pages, catalogues.catalogue_schema),
    )
}


def mutant(base: Base, seed: int, number: int) -> tuple[str, Mutant]:
    """Return the name of the mutation and the bundle of one case; the same for the same numbers."""
    rng = np.random.default_rng([seed, number])
    names = list(MUTATORS)
    name = names[number % len(names)]
    return name, MUTATORS[name](base, rng)
