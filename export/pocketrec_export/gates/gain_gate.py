"""The gain gate: warn of or refuse a run that is worse than the best simple baseline."""

from pathlib import Path

from pocketrec_export.errors import GateRefusedError
from pocketrec_training.data.splits.check import asks_for_no_test
from pocketrec_training.evaluation.baseline_gain import read_gain
from pocketrec_training.recipe.schema import Recipe

NOT_EVALUATED = (
    "not compared with simple baselines: run `pocketrec evaluate RUN --data DIR --out REPORT` first"
)

NO_TEST = (
    "not compared with simple baselines: the recipe keeps no test events (split.test_share = 0)"
)


def checked_gain(recipe: Recipe, run_dir: Path, *, force: bool) -> str:
    """Return the last test evaluation's comparison of the run with the best baseline.

    Raises:
        GateRefusedError: `export.require_gain = "refuse"`, and the run is not above
            the baseline or was not evaluated.
        RunInvalidError: the evaluation's file in the run is damaged.
    """
    wanted = recipe.export.require_gain
    if wanted == "off":
        return ""
    gain = read_gain(run_dir)
    told = NOT_EVALUATED if gain is None else gain.sentence()
    if gain is None and asks_for_no_test(recipe.split):
        told = NO_TEST
    if wanted == "refuse" and not force and (gain is None or not gain.difference > 0):
        raise GateRefusedError(
            f"{run_dir}: {told}. The recipe has export.require_gain = 'refuse'. Ship the baseline, "
            "train longer, set it to 'warn', or ship anyway with --force."
        )
    return told
