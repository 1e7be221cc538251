"""Revenue of the first 20 on Online Retail II: a value head against purchase probability x price.

Claim: the formula "revenue" of a ranker with heads of purchase and revenue has a higher NDCG@20,
with the pounds of each held-out item as its gain, than the usual heads sorted by purchase
probability x price. `revenue_gain_low` is the lower end of the paired 95% interval over customers.
Data: Online Retail II, 2009-2010, with Quantity x Price of each line; two cuts in time (80/10/10%
of the lines); one case a customer, everything bought in the test period. Setting: all items, since
a shop shows known ones again; figures with `_new` are of items new to the customer.
Peers, in the same process: the ranker with the heads of a recipe without objectives ("engage"; the
data has no likes), refitted on the same lists of the same towers, sorted by engage x price, and by
engage alone. All rankers learn from validation lists; the test period is scored once, at the end.
Values of the test are not capped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks.demo import empty
from benchmarks.harness import Cell, Options, Result
from benchmarks.quality.revenue_tables import write_revenue_tables
from benchmarks.support import command_line
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.floats import Floats64
from pocketrec_bundle.objectives import parse
from pocketrec_training.data.dataset import TEST, Dataset, load_dataset
from pocketrec_training.evaluation.value_ndcg import CUT, target_values
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases, Setting, held_out_cases
from pocketrec_training.metrics.significance import paired_bootstrap
from pocketrec_training.ranker.candidate_lists import CandidateLists
from pocketrec_training.ranker.epochs import score
from pocketrec_training.ranker.fit import fit_ranker
from pocketrec_training.ranker.objectives import fit_objectives
from pocketrec_training.ranker.realised import scores_of
from pocketrec_training.trained import TrainedRun, load_trained

RECIPE = Path(__file__).parents[2] / "recipes" / "retail-revenue.toml"
OURS = "revenue"
RIVAL = "engage * price"
FORMULAS = {
    "objectives": (OURS, "purchase * price", "purchase"),
    "usual heads": (RIVAL, "engage"),
}
"""Model -> the formulas by which its lists are sorted; the others show what the gain is from."""
SETTINGS: dict[Setting, str] = {"all": "", "new_to_user": "_new"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Test lists of one setting. gains: pounds of each target; ranks: int64 by formula."""

    cases: Cases
    gains: Floats64
    ranks: Mapping[str, NDArray[np.int64]]

    def ndcg(self, formula: str) -> Floats64:
        """Return NDCG@20 of the customers who spend anything, float64 [n]."""
        values = metrics.value_ndcg(self.ranks[formula], self.gains, self.cases.offsets, CUT)
        return values[~np.isnan(values)]


def run(options: Options, recipe: Path = RECIPE) -> Result:
    """Train towers and one ranker, refit the peer on the same lists, score the test once."""
    if options.data is None:
        raise InputError(
            "objectives: --data FOLDER is needed, with online_retail_2009_2010.parquet"
        )
    work = empty(options.work)
    write_revenue_tables(options.data, work / "source")
    command_line.train(recipe, work, work / "source", options.minutes)
    return compare(work, options.seed)


def compare(work: Path, seed: int) -> Result:
    """Compare the models of `work/run` and their peer on the tables of `work/data`."""
    trained = load_trained(work / "run")
    data = load_dataset(trained.recipe, work / "data")
    models = {"objectives": trained, "usual heads": usual_heads(trained, data)}
    rows: list[dict[str, Cell]] = []
    figures: dict[str, float] = {}
    for setting, suffix in SETTINGS.items():
        found = sorted_lists(models, data, setting)
        values = {formula: found.ndcg(formula) for formula in found.ranks}
        told = metrics.intervals(values, seed)
        rows += [
            {
                "setting": setting,
                "model": model,
                "formula": formula,
                "cases": len(values[formula]),
                "revenue_ndcg20": told[formula]["value"],
                "revenue_ndcg20_low": told[formula]["low"],
                "revenue_ndcg20_high": told[formula]["high"],
            }
            for model, formulas in FORMULAS.items()
            for formula in formulas
        ]
        difference = values[OURS] - values[RIVAL]
        low, high = paired_bootstrap(difference[:, None], seed)
        figures |= {
            f"revenue_ndcg20{suffix}": float(values[OURS].mean()),
            f"rival_ndcg20{suffix}": float(values[RIVAL].mean()),
            f"revenue_gain{suffix}": float(difference.mean()),
            f"revenue_gain_low{suffix}": float(low[0]),
            f"revenue_gain_high{suffix}": float(high[0]),
        }
    return Result(name="objectives", seed=seed, rows=rows, figures=figures)


def usual_heads(trained: TrainedRun, data: Dataset) -> TrainedRun:
    """Fit the ranker of a recipe without objectives, sorted by `RIVAL`, on the same lists."""
    settings = replace(trained.recipe.ranker, heads=("engage",), head_weights=(1.0,), formula=RIVAL)
    recipe = replace(trained.recipe, objectives=(), ranker=settings)
    spec = replace(trained.spec, heads=("engage",), head_weights=(1.0,))
    objectives, _ = fit_objectives(recipe, data, recipe.name)
    peer = replace(trained, recipe=recipe, spec=spec, objectives=objectives)
    keras.utils.set_random_seed(recipe.seed)
    fitted = fit_ranker(recipe, spec, peer.candidates(data), 0.0)
    return replace(peer, ranker=fitted.ranker)


def sorted_lists(models: Mapping[str, TrainedRun], data: Dataset, setting: Setting) -> Sorted:
    """Sort the test lists of a setting by each formula of each model."""
    cases, ranks = held_out_cases(data, TEST, setting), {}
    for model, formulas in FORMULAS.items():
        trained = models[model]
        candidates = trained.candidates(data)
        candidates.repeats = setting == "all"
        lists = candidates.lists_for(cases.pairs)
        outputs = score(trained.ranker, candidates, lists)
        assert trained.objectives is not None
        for text in formulas:
            tree = parse(text, trained.spec.heads, trained.spec.numeric)
            objectives = replace(trained.objectives, formula=tree)
            scores = scores_of(trained.spec, lists, outputs, objectives)
            ranks[text] = ranks_of(cases, lists, scores, len(data.items))
    codes = list(range(len(trained.recipe.events.types)))
    return Sorted(cases=cases, gains=target_values(data, cases, TEST, codes), ranks=ranks)


def ranks_of(
    cases: Cases, lists: CandidateLists, scores: Floats64, n_items: int
) -> NDArray[np.int64]:
    """Return the rank of each target in its list; n_items for one that was not retrieved."""
    order = np.argsort(-np.where(lists.real, scores, -np.inf), axis=1, kind="stable")
    found = np.full(len(cases.targets), n_items, np.int64)
    for i in range(len(cases)):
        shown = lists.rows[i][order[i]][: int(lists.real[i].sum())]
        place = {int(row): at for at, row in enumerate(shown)}
        part = slice(int(cases.offsets[i]), int(cases.offsets[i + 1]))
        found[part] = [place.get(int(row), n_items) for row in cases.targets[part]]
    return found
