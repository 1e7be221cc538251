"""All of a release that is neither a model nor an answer of one."""

from pathlib import Path

import numpy as np

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.manifest import FORMAT_VERSION, USUAL_VERSION
from pocketrec_bundle.objectives.heads import FILE as OBJECTIVES_FILE
from pocketrec_bundle.settings.campaigns import FILE as CAMPAIGNS_FILE
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.settings.rules import FILE as RULES_FILE
from pocketrec_bundle.writer import BundleWriter
from pocketrec_export.campaigns import read_campaigns
from pocketrec_export.items.content import add_items
from pocketrec_export.items.index_builder import BuiltIndex, build_index
from pocketrec_export.items.nprobe import choose_probes
from pocketrec_export.rules import release_rules
from pocketrec_training.cold_start.score_calibration import fit_users, vectors_of_users
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.data.features.columns import release_popularity
from pocketrec_training.data.features.released import encoded_items
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.trained import TrainedRun

PROBE_USERS = 200


def release_version(trained: TrainedRun) -> int:
    """Return the format version of a run's release: the recipe's, or 3 if it needs that one.

    Raises:
        InputError: the recipe asks for version 1, which cannot hold what it declares.
    """
    wanted, typed = trained.recipe.export.format_version, trained.typed.items
    if not typed and trained.objectives is None:
        return wanted
    if wanted < USUAL_VERSION:
        names = ", ".join(one.name for one in typed)
        what = f"the features {names}" if typed else "objectives and a formula"
        remedy = "ranker = true from them" if typed else "[[objectives]] and ranker.formula"
        raise InputError(
            f"export.format_version = {wanted} cannot hold {what}, which need bundle format 3. "
            f"Remove {remedy}, or remove export.format_version."
        )
    return FORMAT_VERSION


def add_content(
    writer: BundleWriter, trained: TrainedRun, data: Dataset, campaigns: Path | None
) -> None:
    """Add index, catalogue, neighbours, feature spec, policy, rules and campaigns.

    Args:
        writer: of the release.
        trained: the fit that ships.
        data: with the folds of that fit.
        campaigns: see `pocketrec_export.campaigns`.
    """
    spec, recipe = trained.spec, trained.recipe
    index = build_index(trained.item_vectors, trained.items.ids, recipe.index.cells, recipe.seed)
    probes = _probes(trained, data, index)
    available = np.ones(len(trained.items), np.bool_)
    popularity = release_popularity(spec, data)
    add_items(
        writer,
        spec,
        trained.items,
        index,
        popularity,
        available,
        trained.neighbours,
        typed=trained.typed,
        encoded=encoded_items(trained.typed, trained.items),
    )
    writer.add("feature_spec.json", canonical_json(spec.to_json()), "json")
    if trained.objectives is not None:
        writer.add(OBJECTIVES_FILE, canonical_json(trained.objectives.to_json()), "json")
    writer.add("policy.json", canonical_json(_policy(recipe, probes).to_json()), "json")
    rules = release_rules(recipe.rerank, popularity[:, 0])
    if rules is not None:
        writer.add(RULES_FILE, canonical_json(rules.to_json()), "json")
    if campaigns is not None:
        found = read_campaigns(campaigns, rules, trained.items.ids, available)
        writer.add(CAMPAIGNS_FILE, canonical_json(found.to_json()), "json")


def _probes(trained: TrainedRun, data: Dataset, index: BuiltIndex) -> int:
    """Cells a search reads: the recipe's number, or the fewest that reach the recipe's recall."""
    recipe, spec = trained.recipe, trained.spec
    if not recipe.index.recall:
        return recipe.index.probes
    users = fit_users(data, recipe.seed)[:PROBE_USERS]
    now = int(data.ts.max())
    vectors = vectors_of_users(trained.user_tower, spec, data, users, trained.item_vectors, now)
    return choose_probes(
        index, trained.item_vectors, vectors, recipe.ranker.candidates, recipe.index.recall
    ).probes


def _policy(recipe: Recipe, probes: int) -> Policy:
    return Policy(
        slate=recipe.rerank.slate,
        category_cap=recipe.rerank.category_cap,
        near_duplicate_cosine=recipe.rerank.near_duplicate_cosine,
        probes=probes,
        candidates=recipe.ranker.candidates,
        repeats=recipe.rerank.repeats,
    )
