"""Measure the cost in NDCG and the gain in diversity of each re-ranking rule, by setting.

Claim: no rule beats the release's own policy in NDCG@10 by more than chance, so all are off by
default; each moves what it is for; the median of the stage stays within two milliseconds.
Data: MovieLens-100K, validation events through the device path; the ranker learned from most of
them, so the figures compare settings and say nothing else (the test split is not touched). Peer:
the same release with `policy.json` alone, in the same process; intervals are of the difference to
it, paired by case, by bootstrap. Each setting is one change of the recipe's `[rerank]`. Prices are
unknown in this data set, so the cap of price bands is not measured. Thompson sampling knows no
feedback here, so its figures are those of its first slates. Every tenth item has a campaign, which
the third place shows where it is relevant enough. Repetitions: one training.

Columns: NDCG@10; intra-list distance (1 - mean cosine of the item vectors of a slate); categories
in a slate; divergence (KL) of a slate's categories from the history's; share of head items, which
have the first fifth of all events; share of the catalogue in some slate; mean year; items a slate;
milliseconds of the stage, which also describes the items.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result, percentiles
from benchmarks.support import command_line
from pocketrec_bundle.encoding.strict_json import MAX_UTC
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_bundle.settings.campaigns import Campaign, Campaigns
from pocketrec_edge.recommend.index import Index
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.rules.selection import SMOOTHING, category_marks
from pocketrec_export.gates import on_device
from pocketrec_export.rules import popularity_bounds, release_rules
from pocketrec_training.data.dataset import VALID, Dataset, load_dataset
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.beyond_accuracy import coverage, diversity
from pocketrec_training.metrics.cases import Cases, held_out_cases
from pocketrec_training.metrics.ranks import NOBODY
from pocketrec_training.metrics.significance import paired_bootstrap
from pocketrec_training.recipe.schema import RerankConfig
from pocketrec_training.trained import load_trained

RECIPE = Path(__file__).parents[2] / "recipes" / "ml100k.toml"
K = 10
POLICY = "policy"

Row = dict[str, Cell]
Changes = dict[str, Any]


def settings() -> Iterator[tuple[str, Changes]]:
    """Name and change of each setting, the policy alone first."""
    yield POLICY, {}
    yield "no rules", {"category_cap": 0, "near_duplicate_cosine": 2.0}
    for cosine in (0.9, 0.8, 0.7):
        yield f"near duplicates {cosine}", {"near_duplicate_cosine": cosine}
    yield "near duplicates, titles", {"near_duplicate_titles": True}
    for cap in (3, 2, 1):
        yield f"category cap {cap}", {"category_cap": cap}
    for kind in ("mmr", "dpp"):
        for share in (0.99, 0.95, 0.9, 0.8, 0.7, 0.5):
            yield f"{kind} {share}", {"diversity": kind, "diversity_relevance": share}
    for key in ("category_calibration", "popularity_calibration"):
        for weight in (0.1, 0.3, 0.5, 0.7, 0.9):
            yield f"{key.replace('_', ' ')} {weight}", {key: weight}
    for weight in (0.05, 0.1, 0.2):
        yield f"freshness {weight}", {"freshness": weight}
    for floor in (0.1, 0.2, 0.4):
        yield f"floor {floor}", {"floor": floor}
    for epsilon in (0.05, 0.1, 0.2):
        yield f"explore {epsilon}", {"explore": epsilon}
        yield f"thompson {epsilon}", {"explore": epsilon, "explore_by": "category"}
    for floor in (0.2, 0.5, 0.8):
        yield f"sponsored {floor}", {"sponsored_places": (3,), "sponsored_floor": floor}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruler:
    """The data that slates are measured with, by row of the release.

    vectors: float32 [N, d]; categories: integer [N, K]; taste: float64 [n, V], the shares of each
    case's history; head: bool [N]; years: float64 [N], nan where unknown.
    """

    vectors: NDArray[np.float32]
    categories: NDArray[np.int64]
    taste: NDArray[np.float64]
    head: NDArray[np.bool_]
    years: NDArray[np.float64]

    @classmethod
    def of(cls, bundle: Bundle, data: Dataset, cases: Cases) -> "Ruler":
        """Take it from a release and the cases' histories."""
        rows = np.arange(bundle.item_count, dtype=np.int32)
        numeric = dict(zip(bundle.spec.numeric, bundle.numeric[rows].T, strict=True))
        codes = np.asarray(bundle.categories[rows], np.int64)
        row_of = np.array([bundle.row_of(item_id) for item_id in data.items.ids])
        marks = np.zeros((len(cases), len(bundle.spec.categories)))
        for at, (user, end) in enumerate(cases.pairs):
            had = codes[row_of[data.history(user, end).rows]]
            marks[at] = np.bincount(had[had > 0] - 1, minlength=marks.shape[1])
        return cls(
            vectors=Index.of(bundle).vectors(rows),
            categories=codes,
            taste=marks / np.maximum(marks.sum(axis=1, keepdims=True), 1),
            head=numeric["popularity"] >= popularity_bounds(numeric["popularity"])[-1],
            years=np.where(numeric["year"] < 0, np.nan, numeric["year"]),
        )

    def measure(self, lists: NDArray[np.int32]) -> Row:
        """Return the columns of some slates, see the module."""
        slates = [line[line != NOBODY] for line in lists]
        shown = np.concatenate(slates)
        wanted = np.arange(1, self.taste.shape[1] + 1)
        marks = [category_marks(self.categories[rows], wanted) for rows in slates]
        return {
            "intra_list_distance": diversity(lists, self.vectors),
            "categories": float(np.mean([(each > 0).any(axis=0).sum() for each in marks])),
            "divergence": float(np.mean(list(map(_divergence, self.taste, marks)))),
            "head_share": float(self.head[shown].mean()),
            "coverage": coverage(lists, len(self.head)),
            "year": float(np.nanmean(self.years[shown])) if len(shown) else 0.0,
            "items": len(shown) / len(lists),
        }


def _divergence(taste: NDArray[np.float64], marks: NDArray[np.float64]) -> float:
    known = taste > 0
    shares = (1 - SMOOTHING) * marks.mean(axis=0)[known] + SMOOTHING * taste[known]
    return float((taste[known] * np.log(taste[known] / shares)).sum())


def run(options: Options, recipe: Path = RECIPE) -> Result:
    """Train, export, and answer the validation cases under each setting; prints the table."""
    work = options.work
    command_line.train(recipe, work, options.data, options.minutes)
    words = ("export", work / "run", "--out", work / "bundle", "--force")
    command_line.call(*words, shows_progress=True)
    rows = measure(work / "run", work / "data", work / "bundle", options.seed)
    show(rows)
    figures = {
        f"{column}, {row['setting']}": float(str(row[column]))
        for row in rows
        for column in ("ndcg10", "intra_list_distance", "head_share")
    }
    slowest = max(float(str(row["rerank_ms_p50"])) for row in rows)
    return Result(
        name="rerank",
        seed=options.seed,
        rows=rows,
        figures=figures | {"rerank_ms_p50_slowest": slowest},
    )


def measure(run_dir: Path, data_dir: Path, bundle_dir: Path, seed: int) -> list[Row]:
    """Answer the validation cases under each setting."""
    trained, bundle = load_trained(run_dir), open_bundle(bundle_dir)
    data = load_dataset(trained.recipe, data_dir)
    cases = held_out_cases(data, VALID, "new_to_user")
    ruler = Ruler.of(bundle, data, cases)
    popularity = bundle.numeric[np.arange(bundle.item_count)][:, 0]
    bundle.campaigns = campaigns_of(bundle)
    rows: list[Row] = []
    base: NDArray[np.float64] | None = None
    for name, changes in settings():
        config = replace(trained.recipe.rerank, **changes)
        gains, found = answered(bundle, config, popularity, data, cases, name, seed)
        base = gains if base is None else base
        low, high = paired_bootstrap((gains - base)[:, None], seed)
        rows.append(
            {
                "setting": name,
                "ndcg10": float(gains.mean()),
                "change_low": float(low[0]),
                "change_high": float(high[0]),
                **ruler.measure(found.lists),
                **{
                    f"rerank_ms_{at}": ms
                    for at, ms in percentiles(found.rerank_ms.tolist()).items()
                },
            }
        )
    return rows


def campaigns_of(bundle: Bundle) -> Campaigns:
    """A campaign for every tenth item, which always runs."""
    return Campaigns(
        campaigns=tuple(
            Campaign(
                id=item_id,
                item_id=item_id,
                label="Sponsored",
                from_utc=0,
                until_utc=MAX_UTC,
                priority=0,
            )
            for item_id in bundle.item_ids()[::10]
        )
    )


def answered(
    bundle: Bundle,
    config: RerankConfig,
    popularity: NDArray[np.float32],
    data: Dataset,
    cases: Cases,
    name: str,
    seed: int,
) -> tuple[NDArray[np.float64], on_device.Answers]:
    """NDCG@10 of each case under one setting, and the slates."""
    bundle.rules = release_rules(config, popularity)
    cap, cosine = config.category_cap, config.near_duplicate_cosine
    bundle.policy = replace(bundle.policy, category_cap=cap, near_duplicate_cosine=cosine)
    rng = np.random.default_rng(seed)
    found = on_device.answer(Recommender(bundle), data, cases, K, name, rng, showings={})
    gains = metrics.at_k(found.slate, K, cases.offsets)[f"ndcg@{K}"]
    return np.asarray(gains, np.float64), found


def show(rows: Sequence[Row]) -> None:
    """Print the settings, one a line."""
    table = Table(title=f"rerank, MovieLens-100K, validation events, slates of {K}")
    heads = ("setting", "NDCG@10", "change", "distance", "categories", "KL", "head", "coverage")
    for name in (*heads, "year", "items", "ms", "p99"):
        table.add_column(name, justify="left" if name == "setting" else "right")
    for row in rows:
        table.add_row(
            str(row["setting"]),
            f"{row['ndcg10']:.4f}",
            f"{row['change_low']:+.4f} to {row['change_high']:+.4f}",
            f"{row['intra_list_distance']:.3f}",
            f"{row['categories']:.2f}",
            *(f"{row[name]:.3f}" for name in ("divergence", "head_share", "coverage")),
            f"{row['year']:.1f}",
            f"{row['items']:.1f}",
            *(f"{row[f'rerank_ms_{at}']:.2f}" for at in ("p50", "p99")),
        )
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150).print(table)
