"""Compare two evaluations of the same cases, metric by metric."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pocketrec_training.errors import CasesDifferError, RunInvalidError
from pocketrec_training.metrics.case_file import CaseResults, read_cases
from pocketrec_training.metrics.significance import (
    BOOTSTRAP_DRAWS,
    PERMUTATION_DRAWS,
    compare_means,
)

CUTS = (10, 20)
METRICS = ("recall", "hr", "ndcg", "mrr")


def compare(
    a: Path, b: Path, method_a: str = "two_stage", method_b: str = "two_stage", seed: int = 7
) -> dict[str, Any]:
    """Compare method A of folder `a` with method B of folder `b`, in every setting both have.

    Returns:
        `settings`: by setting the cases and, by metric, the fields of `Difference`.

    Raises:
        RunInvalidError: a folder holds no evaluation.
        CasesDifferError: users, histories or target items are not the same, or no setting has both
            methods.
    """
    found_a, found_b = read_evaluation(a), read_evaluation(b)
    cases_a, cases_b = read_cases(a), read_cases(b)
    common = sorted(cases_a.keys() & cases_b.keys())
    settings = {}
    for setting in common:
        one, two = cases_a[setting], cases_b[setting]
        digests = [found["protocol"]["cases_sha256"].get(setting) for found in (found_a, found_b)]
        if digests[0] != digests[1]:
            raise CasesDifferError(f"{a} and {b}, {setting}: {_first_difference(one, two)}")
        if method_a not in one.ranks or method_b not in two.ranks:
            continue  # personal frequency, say, has nothing to tell about items new to a user
        settings[setting] = {
            "cases": len(one.users),
            "metrics": {
                name: asdict(found)
                for name, found in compare_means(
                    _values(one, method_a), _values(two, method_b), seed
                ).items()
            },
        }
    if not settings:
        told = [
            f"{folder} has {', '.join(sorted({m for c in cases.values() for m in c.ranks}))}"
            for folder, cases in ((a, cases_a), (b, cases_b))
        ]
        raise CasesDifferError(
            f"no setting has both {method_a!r} of A and {method_b!r} of B; {'; '.join(told)}."
        )
    return {
        "a": {"folder": str(a), "method": method_a},
        "b": {"folder": str(b), "method": method_b},
        "seed": seed,
        "bootstrap_draws": BOOTSTRAP_DRAWS,
        "permutation_draws": PERMUTATION_DRAWS,
        "settings": settings,
    }


def read_evaluation(folder: Path) -> dict[str, Any]:
    """Read `evaluation.json` of a report folder.

    Raises:
        RunInvalidError: it is missing or damaged.
    """
    path = folder / "evaluation.json"
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as err:
        raise RunInvalidError(
            f"{folder}: no evaluation.json. Write one with `pocketrec evaluate RUN --data DIR "
            f"--out {folder}`, or give --data to compare two runs."
        ) from err
    except (OSError, ValueError, RecursionError) as err:
        raise RunInvalidError(f"{path}: damaged ({err}). Evaluate again.") from err
    if not isinstance(found, dict):
        raise RunInvalidError(f"{path}: damaged (not an object). Evaluate again.")
    protocol = found.get("protocol", {})
    if not isinstance(protocol, dict):
        raise RunInvalidError(f"{path}: damaged (protocol is not an object). Evaluate again.")
    if "cases_sha256" not in protocol:
        raise RunInvalidError(f"{path}: written by an older version. Evaluate again.")
    if not isinstance(protocol["cases_sha256"], dict):
        raise RunInvalidError(
            f"{path}: damaged (protocol.cases_sha256 is not an object). Evaluate again."
        )
    return found


def _values(cases: CaseResults, method: str) -> dict[str, np.ndarray]:
    values = cases.per_case(method, CUTS)
    return {f"{name}@{k}": values[f"{name}@{k}"] for k in CUTS for name in METRICS}


def _first_difference(a: CaseResults, b: CaseResults) -> str:
    """Say what is not the same, in the words of the data."""
    if len(a.users) != len(b.users):
        return f"{len(a.users)} cases against {len(b.users)}; compare on one data set and split."
    for what, one, two in (("user", a.users, b.users), ("history length", a.ends, b.ends)):
        if not np.array_equal(one, two):
            at = int(np.flatnonzero(one != two)[0])
            return f"case {at} has {what} {one[at]} in the one and {two[at]} in the other."
    return "the same users and histories have other held-out items; was the data changed?"
