"""The final fit on Online Retail II, week after week: train up to a week, answer that week.

Claim: a release whose models learned from all events answers the next week better than one whose
models lack the newest 20%, and better than the best simple baseline, refitted each week too.
Data: Online Retail II, 2009-2010; the weeks of 21 October and 18 November 2010. One case a
customer and week: everything bought in the week, given everything bought before it.
Peers, in the same process: the evaluation fit of the same training (what ships with `--no-final`),
and popularity, personal frequency, transitions, item-kNN, EASE, SLIST, TIFU-kNN, ALS and hybrids,
fitted on all events before the week. Their settings are those that `quality-retail` tuned on weeks
that include these, in their favour; the best one is chosen on the answers themselves.
Repetitions: one training a week, with a smaller recipe than `recipes/retail.toml`; intervals are
paired bootstraps over all cases of all weeks. Models are those of Keras: `quality-retail` measures
the phone.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.demo import empty
from benchmarks.harness import Cell, Options, Result
from benchmarks.support import command_line
from benchmarks.support.rolling_week import (
    WEEK_S,
    Week,
    answered,
    cut_tables,
    load_week,
    of_baseline,
    of_fit,
)
from pocketrec_bundle.floats import Floats64
from pocketrec_training.baselines import BASELINES
from pocketrec_training.metrics.cases import Setting
from pocketrec_training.metrics.significance import paired_bootstrap
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.recipe.toml import recipe_toml
from pocketrec_training.run_folder import RunFolder
from pocketrec_training.trained import load_trained
from pocketrec_training.tuning.search_space import with_values

HERE = Path(__file__).parent.parent
RECIPE = HERE.parent / "recipes" / "retail.toml"
TUNED = HERE / "results" / "quality-retail.json"
SMALLER = {
    "retrieval.dim": 32,
    "retrieval.blocks": 1,
    "retrieval.max_history": 50,
    "retrieval.batch": 104,
    "retrieval.epochs": 4,
    "ranker.blend": True,
}
"""Small towers, so that several trainings fit into half an hour; the ranker is the recipe's."""
FIRST = int(datetime(2010, 10, 21, tzinfo=UTC).timestamp())
STARTS = (FIRST, FIRST + 4 * WEEK_S)

FINAL, WITHOUT = "final fit", "without the final fit"
METRICS = ("ndcg", "recall")
SUFFIX: dict[Setting, str] = {"new_to_user": "", "all": "_all"}

Parameters = dict[str, dict[str, float]]
Found = dict[tuple[Setting, str], list[dict[str, Floats64]]]
"""Figures of each case, by setting and method, one entry a week."""


def run(
    options: Options,
    recipe: Path = RECIPE,
    *,
    smaller: Mapping[str, object] = SMALLER,
    starts: Sequence[int] = STARTS,
    tuned: Mapping[Setting, Parameters] | None = None,
) -> Result:
    """Train before each week, answer it, and pool the cases of all weeks."""
    work = empty(options.work)
    changed = with_values(load_recipe(recipe), smaller)
    path = work / "recipe.toml"
    path.write_text(recipe_toml(changed, "A smaller recipe of the benchmark `rolling`."))
    given: tuple[str | Path, ...] = ("--source", options.data) if options.data else ()
    command_line.call("data", path, "--out", work / "data", *given, shows_progress=True)
    found: Found = {}
    seconds: list[dict[str, float]] = []
    for start in starts:
        folder = work / datetime.fromtimestamp(start, UTC).date().isoformat()
        before, with_week = cut_tables(work / "data", start, folder)
        words = ("train", path, "--data", before, "--out", folder / "run")
        command_line.call(*words, shows_progress=True)
        report = RunFolder(folder / "run").read_report()
        seconds.append(
            {
                "evaluation": report["retrieval_s"] + report["ranker_s"],
                "final": report["final"]["retrieval_s"] + report["final"]["ranker_s"],
            }
        )
        week = load_week(changed, before, with_week, start)
        _answer(week, folder / "run", tuned or tuned_settings(TUNED), found)
    lines = rows(found, starts, options.seed)
    share = sum(one["final"] for one in seconds) / sum(one["evaluation"] for one in seconds)
    return Result(
        name="rolling",
        seed=options.seed,
        rows=lines,
        figures=figures(found, options.seed) | {"final_time_share": share},
    )


def _answer(week: Week, run_dir: Path, tuned: Mapping[Setting, Parameters], found: Found) -> None:
    """Add what all methods answer to the cases of one week."""
    fits = {WITHOUT: load_trained(run_dir), FINAL: load_trained(run_dir, fit="final")}
    for setting in get_args(Setting):
        cases = week.cases(setting)
        methods = {name: of_fit(trained, week, setting) for name, trained in fits.items()}
        for name in tuned[setting]:
            methods[name] = of_baseline(name, tuned[setting], week)
        for name, score in methods.items():
            found.setdefault((setting, name), []).append(answered(score, week, cases))


def tuned_settings(path: Path) -> dict[Setting, Parameters]:
    """Read the settings of the baselines from the result of `quality-retail`."""
    found: dict[Setting, Parameters] = {setting: {} for setting in get_args(Setting)}
    for row in json.loads(path.read_text())["rows"]:
        if row["method"] in BASELINES:
            pairs = (part.rsplit(" ", 1) for part in row["parameters"].split(", ") if part)
            values = {name: float(value) for name, value in pairs}
            whole = {k: int(v) if v.is_integer() else v for k, v in values.items()}
            found[row["setting"]][row["method"]] = whole
    return found


def rows(found: Found, starts: Sequence[int], seed: int) -> list[dict[str, Cell]]:
    """One line a method, setting and week, then one of all weeks with its interval."""
    lines: list[dict[str, Cell]] = []
    for (setting, method), weeks in found.items():
        for start, values in zip(starts, weeks, strict=True):
            day = datetime.fromtimestamp(start, UTC).date().isoformat()
            lines.append(_line(setting, method, day, values))
        together = _pooled(weeks)
        line = _line(setting, method, "all weeks", together)
        for name in METRICS:
            low, high = paired_bootstrap(together[name][:, None], seed)
            line |= {f"{name}20_low": float(low[0]), f"{name}20_high": float(high[0])}
        lines.append(line)
    return lines


def _line(setting: str, method: str, week: str, values: Mapping[str, Floats64]) -> dict[str, Cell]:
    line: dict[str, Cell] = {"setting": setting, "method": method, "week": week}
    line["cases"] = len(values["ndcg"])
    return line | {f"{name}20": float(values[name].mean()) for name in METRICS}


def _pooled(weeks: Sequence[Mapping[str, Floats64]]) -> dict[str, Floats64]:
    return {name: np.concatenate([week[name] for week in weeks]) for name in METRICS}


def figures(found: Found, seed: int) -> dict[str, float]:
    """Means over all cases, and the intervals of the final fit's lead."""
    flat: dict[str, float] = {}
    for setting, suffix in SUFFIX.items():
        pooled = {m: _pooled(weeks) for (s, m), weeks in found.items() if s == setting}
        for name in METRICS:
            means = {method: float(values[name].mean()) for method, values in pooled.items()}
            rival = max((m for m in means if m not in (FINAL, WITHOUT)), key=means.__getitem__)
            flat[f"{name}_final{suffix}"] = means[FINAL]
            flat[f"{name}_without{suffix}"] = means[WITHOUT]
            flat[f"{name}_best_baseline{suffix}"] = means[rival]
            for told, other in (("without", WITHOUT), ("best_baseline", rival)):
                gained = pooled[FINAL][name] - pooled[other][name]
                low, high = paired_bootstrap(gained[:, None], seed)
                flat[f"{name}_lead_over_{told}_low{suffix}"] = float(low[0])
                flat[f"{name}_lead_over_{told}_high{suffix}"] = float(high[0])
    return flat
