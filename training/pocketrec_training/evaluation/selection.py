"""Which baselines and which users an evaluation asks, where it does not ask all."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from pocketrec_bundle.errors import InputError
from pocketrec_training.baselines import BASELINES, Baseline
from pocketrec_training.metrics.cases import Cases


def chosen_baselines(
    methods: Sequence[str] | None, known: Mapping[str, Baseline] = BASELINES
) -> tuple[dict[str, Baseline], Collection[str]]:
    """Return the baselines to tune, parts of hybrids among them, and the names to report.

    Args:
        methods: names of baselines; None: all.
        known: the baselines there are.

    Raises:
        InputError: a name is unknown or none is given; the text lists the known ones.
    """
    if methods is None:
        return dict(known), known.keys()
    listed = ", ".join(known)
    unknown = [name for name in methods if name not in known]
    if unknown:
        raise InputError(f"methods: no baseline is named {unknown[0]!r}. Known: {listed}.")
    if not methods:
        raise InputError(f"methods: name at least one baseline of {listed}.")
    needed = {*methods, *(part for name in methods for part in known[name].parts)}
    return {name: each for name, each in known.items() if name in needed}, set(methods)


def sampled(settings: list[Cases], users: int, seed: int) -> list[Cases]:
    """Draw at most `users` users and keep their cases in every setting; 0 = all users."""
    everyone = np.unique(np.concatenate([cases.users for cases in settings]))
    if not users or len(everyone) <= users:
        return settings
    chosen = np.random.default_rng([seed, 8]).choice(everyone, users, replace=False)
    kept = [cases.take(np.flatnonzero(np.isin(cases.users, chosen))) for cases in settings]
    return [cases for cases in kept if len(cases)]
