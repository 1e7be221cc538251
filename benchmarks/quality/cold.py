"""Items never seen in training, by content alone: new products of a shop, new films.

Claim: ranked within the pool of new items, Recall@50 at least three times random order and above
title similarity (tf-idf); mixed among all items they are neither buried nor flooding.
Data (`cold_split.py`): Online Retail II, cut after 80% of its events, a fifth of the products held
out completely, because only some dozens arrive after it; again with the products that came after
40%, of which 50 are 11%; MovieTweetings, films that came after 80%. Peers: random order, its
expected value 50 / pool; tf-idf (`title_similarity.py`), the variant that is best on an earlier
cut. Also measured: votes of the user's items for new items of similar content (`votes.py`) beside
the vectors. One run, one seed; intervals are bootstraps over users. All vectors are rounded to
int8 rows, as on the phone; the user tower is the Keras model.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support.cold_start import title_similarity
from benchmarks.support.cold_start.likes import SLATE, kept, recall_of_sequels, sequels
from benchmarks.support.cold_start.scores import as_stored, expected, lifted, mixed, recall_at
from benchmarks.support.cold_start.split import ColdSplit, split
from benchmarks.support.cold_start.votes import votes, with_votes
from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.floats import Floats32
from pocketrec_training.cold_start.content_vectors import ContentVectors
from pocketrec_training.cold_start.score_calibration import fit_users, vectors_of_users
from pocketrec_training.data.dataset import Items
from pocketrec_training.data.features.columns import feature_spec
from pocketrec_training.data.features.declared import fit_features
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.metrics.ranking import interval
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.towers.fit import fit_towers, prepare_process
from pocketrec_training.towers.item_content import item_inputs

RECIPES = Path(__file__).parents[2] / "recipes"
K = 50
SLATES = (10, 20)
LIKE_PLACES = 20
WIDTH = 110  # columns if the output is not a terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """One data set: its cut, and the earlier one on which choices are made; shares of events.

    lots: of items that are held out, at the earlier cut and in the test; None: what came later.
    """

    key: str
    title: str
    recipe: Path
    folder: str
    cut: float
    earlier_cut: float
    lots: tuple[int, int] | None = None


SHOPS = (
    Shop(
        key="retail",
        title="Online Retail II, held out",
        recipe=RECIPES / "cold-retail.toml",
        folder="online_retail_ii",
        cut=0.8,
        earlier_cut=0.6,
        lots=(0, 4),
    ),
    Shop(
        key="retail_arrivals",
        title="Online Retail II, arrivals",
        recipe=RECIPES / "cold-retail.toml",
        folder="online_retail_ii",
        cut=0.4,
        earlier_cut=0.25,
    ),
    Shop(
        key="movies",
        title="MovieTweetings",
        recipe=RECIPES / "cold-movies.toml",
        folder="movietweetings",
        cut=0.8,
        earlier_cut=0.6,
    ),
)


def run(
    options: Options,
    shops: tuple[Shop, ...] = SHOPS,
    places: int = K,
    console: Console | None = None,
) -> Result:
    """Train and measure each data set, then print the table; `places` is the k of Recall@k."""
    console = console or Console(width=None if sys.stdout.isatty() else WIDTH)
    rows: list[Mapping[str, Cell]] = []
    figures: dict[str, float] = {}
    for shop in shops:
        recipe = load_recipe(shop.recipe)
        tables = options.work / shop.key / "tables"
        build_tables(recipe, tables, options.data / shop.folder if options.data else None)
        # The window of choices ends where the test's begins: the test is touched once.
        earlier = split(
            recipe,
            tables,
            options.work / shop.key / "earlier",
            cut=shop.earlier_cut,
            end=shop.cut,
            seed=options.seed,
            lot=shop.lots[0] if shop.lots else None,
        )
        case = split(
            recipe,
            tables,
            options.work / shop.key / "test",
            cut=shop.cut,
            end=1.0,
            seed=options.seed,
            lot=shop.lots[1] if shop.lots else None,
        )
        declared = fit_features(recipe, case.known.items)
        places_then = round(places * len(earlier.new) / len(case.new))
        baseline = choose(earlier, declared, k=places_then)
        minutes = options.minutes / len(shops) if options.minutes else recipe.retrieval.minutes
        found = measure(shop, recipe, case, baseline, options, minutes, places)
        rows += found[0]
        figures |= found[1]
    show(console, rows)
    return Result(name="quality-cold", seed=options.seed, rows=rows, figures=figures)


def choose(earlier: ColdSplit, declared: FittedFeatures, k: int) -> title_similarity.Variant:
    """Return the variant of the baseline with the best recall at the earlier cut.

    Args:
        earlier: the cut.
        declared: features of the items, which the model gets too.
        k: places, the same share of this pool as the test's places are of its own.
    """
    wanted = [earlier.new_taken[at] for at in earlier.takers]

    def recall(variant: title_similarity.Variant) -> float:
        scores = title_similarity.scores(earlier, variant, declared)
        return float(recall_at(scores, wanted, max(k, 1)).mean())

    return max(title_similarity.variants(earlier.known.items, declared), key=recall)


def measure(
    shop: Shop,
    recipe: Recipe,
    case: ColdSplit,
    baseline: title_similarity.Variant,
    options: Options,
    minutes: float,
    k: int,
) -> tuple[list[dict[str, Cell]], dict[str, float]]:
    """Train on what was known, then rank what was new."""
    prepare_process(recipe.seed)
    spec = feature_spec(recipe, case.known.items)
    checkpoint = options.work / shop.key / "towers.npz"
    checkpoint.unlink(missing_ok=True)  # a run measures what it trained itself
    towers = fit_towers(recipe, spec, case.known, checkpoint, minutes)
    buckets = recipe.retrieval.title_buckets

    def without_id(items: Items) -> Floats32:
        inputs = item_inputs(spec, items, buckets, towers.declared, known=False)
        return np.asarray(towers.item_tower(inputs, training=False), np.float32)

    own = without_id(case.new)
    inputs = item_inputs(spec, case.known.items, buckets, towers.declared)
    known = np.asarray(towers.item_tower(inputs, training=False))
    stored = as_stored(known)

    def user_vectors(rows: NDArray[np.int64]) -> Floats32:
        return vectors_of_users(towers.user_tower, spec, case.known, rows, stored, case.cut_utc)

    some = fit_users(case.known, options.seed)
    made = ContentVectors(
        case.known,
        without_id,
        users=some,
        user_vectors=user_vectors(some),
        item_vectors=stored,
        declared=towers.declared,
    )
    content = made(case.new)
    users = user_vectors(case.users)
    raised = lifted(case, made, users, stored, content, options.seed)
    new = as_stored(raised)

    takers = case.takers
    wanted = [case.new_taken[at] for at in takers]
    model = recall_at(users[takers] @ new.T, wanted, k)
    tower = recall_at(users[takers] @ as_stored(own).T, wanted, k)
    tfidf = recall_at(title_similarity.scores(case, baseline, towers.declared), wanted, k)
    asked = with_votes(users[takers] @ new.T, votes(case, towers.declared))
    voted = recall_at(asked, wanted, k)
    random = min(1.0, k / len(case.new))
    everybody = np.bincount(np.concatenate(wanted), minlength=len(case.new)).astype(np.float32)
    oracle = recall_at(np.tile(everybody, (len(takers), 1)), wanted, k)

    def row(what: str, value: float | np.ndarray, note: str = "") -> dict[str, Cell]:
        line: dict[str, Cell] = {"data": shop.title, "what": what, "note": note}
        if isinstance(value, float):
            return line | {"value": value, "low": None, "high": None}
        return line | interval(value, options.seed)

    pool = f"{len(case.new)} new items, {len(takers)} users"
    rows = [
        row(f"Recall@{k}, by content", model, pool),
        row(f"Recall@{k}, by content and votes", voted, "similar items of the history vote"),
        row(f"Recall@{k}, item tower alone", tower, "nothing fitted"),
        row(f"Recall@{k}, random order", random, "expected value"),
        row(f"Recall@{k}, title similarity", tfidf, str(baseline)),
        row("by content minus title similarity", model - tfidf, "paired, by user"),
        row("by content and votes minus title similarity", voted - tfidf, "paired, by user"),
        row("by content and votes minus by content", voted - model, "paired, by user"),
        row(f"Recall@{k}, most taken afterwards", oracle, "knows the future; for scale"),
    ]
    figures = {
        f"recall50_{shop.key}": float(model.mean()),
        f"random_recall50_{shop.key}": random,
        f"tfidf_recall50_{shop.key}": float(tfidf.mean()),
        f"gain_low_{shop.key}": interval(model - tfidf, options.seed)["low"],
        f"recall50_votes_{shop.key}": float(voted.mean()),
        f"votes_gain_low_{shop.key}": interval(voted - tfidf, options.seed)["low"],
        f"train_s_{shop.key}": towers.seconds,
    }
    tables = options.work / shop.key / "tables"
    followed = sequels(case, tables, spec.event_types)
    with_new, without = (
        recall_of_sequels(towers.user_tower, spec, stored, followed, vectors, LIKE_PLACES)
        for vectors in (new, None)
    )
    shift = (raised - content).mean(axis=0)
    stays = kept(case, towers.user_tower, spec, made, shift, stored, options.seed)
    pairs = f"{len(followed)} users whose next known item comes after a new one"
    rows += [
        row(f"of {SLATE} items kept after one event, known item", stays.known),
        row(f"of {SLATE} items kept after one event, the same item as if new", stays.as_new),
        row(f"Recall@{LIKE_PLACES} of what follows a new item", with_new, pairs),
        row(f"Recall@{LIKE_PLACES} of it, the new item left out", without),
        row("with the new item minus without", with_new - without, "paired, by user"),
    ]
    figures |= {
        f"kept_known_{shop.key}": float(stays.known.mean()),
        f"kept_as_new_{shop.key}": float(stays.as_new.mean()),
        f"follows_recall20_{shop.key}": float(with_new.mean()),
        f"follows_without_recall20_{shop.key}": float(without.mean()),
    }
    if shop.lots:  # what a held-out item should get cannot be measured on arrivals
        return rows, figures
    for slate in SLATES:
        after = mixed(case, users, stored, new, slate)
        before = mixed(case, users, stored, as_stored(content), slate)
        note = f"expected {after.expected:.3f} from the past, actual {after.actual:.3f}"
        rows += [
            row(f"share of top {slate}, lifted", after.share, note),
            row(f"share of top {slate}, not lifted", before.share, note),
            row(f"Recall@{slate} of new items among all, lifted", after.recall_new),
            row(f"Recall@{slate} of new items among all, not lifted", before.recall_new),
            row(f"Recall@{slate} of known items among all, lifted", after.recall_known),
            row(f"Recall@{slate} of known items among all, not lifted", before.recall_known),
        ]
        figures |= {f"share{slate}_{shop.key}": after.share}
    figures[f"actual_share_{shop.key}"] = case.new_share
    figures[f"expected_share_{shop.key}"] = expected(case)
    return rows, figures


def show(console: Console, rows: list[Mapping[str, Cell]]) -> None:
    """Print the table."""
    table = Table(title="Items never seen in training", title_justify="left")
    for name in ("data", "what", "value", "95% interval", "note"):
        table.add_column(name, justify="right" if name == "value" else "left")
    data = None
    for row in rows:
        if data not in (None, row["data"]):
            table.add_section()
        spread = "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        first = "" if row["data"] == data else str(row["data"])
        table.add_row(first, str(row["what"]), f"{row['value']:.4f}", spread, str(row["note"]))
        data = row["data"]
    console.print(table)
