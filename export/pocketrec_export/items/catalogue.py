"""A catalogue-only release: items added, changed, withdrawn or restored; the same models."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.disk.files import canonical_json, check_free
from pocketrec_bundle.encoding.columns import column_at
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import MISSING, NUMERIC
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.items.catalogue import Catalogue
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.objectives.heads import FILE as OBJECTIVES_FILE
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_bundle.settings.campaigns import FILE as CAMPAIGNS_FILE
from pocketrec_bundle.settings.release_name import check_release_name
from pocketrec_bundle.settings.rules import FILE as RULES_FILE
from pocketrec_bundle.writer import BundleWriter
from pocketrec_export.campaigns import read_campaigns
from pocketrec_export.golden import answers as golden
from pocketrec_export.golden.set_proofs import add_set_proofs
from pocketrec_export.items.apply_changes import apply_changes
from pocketrec_export.items.changes import Changes, read_changes
from pocketrec_export.items.content import add_items
from pocketrec_export.items.index_builder import sort_into_cells
from pocketrec_export.items.item_table import ItemTable
from pocketrec_training.cold_start.score_calibration import lifted_vectors
from pocketrec_training.data.dataset import Items, load_dataset, split_categories
from pocketrec_training.data.features.columns import popularity_columns
from pocketrec_training.monitoring.progress import SHOWN_EVERY, Progress
from pocketrec_training.run_folder import Fit
from pocketrec_training.trained import TrainedRun, load_trained


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueReport:
    """What changed; bundle_bytes counts each file once.

    compacted: whether rows of withdrawn items went; removed: how many.
    """

    name: str
    items: int
    added: int
    changed: int
    withdrawn: int
    restored: int
    compacted: bool
    removed: int
    bundle_bytes: int


def update_catalogue(
    base: Path,
    changes_path: Path,
    run_dir: Path,
    out: Path,
    *,
    force: bool = False,
    campaigns: Path | None = None,
    name: str | None = None,
) -> CatalogueReport:
    """Make the next release from a bundle and a list of changes.

    Centroids stay, rows stay in (cell, id) order, and vectors of unchanged items keep their bytes,
    so a delta carries little more than what changed. New items get their vector from content alone,
    lifted so that they are shown as often as new items used to be taken. Withdrawn items keep their
    row until they are more than `export.compact_share` of all. Without `campaigns` those of the
    base stay; phones pass over the ones whose item went. Without `name` the release is named by its
    base and a digest of the changes.

    Raises:
        InputError: the changes are malformed, add a known id, or name an unknown one; the run is
            not the base's; or the campaigns are not as they should be.
        GateRefusedError: the release's files disagree on the new catalogue, see `golden.answered`.
        BundleInvalidError: the base fails its checks.
    """
    check_free(out, force=force)
    named = None if name is None else check_release_name(name)
    changes, before = read_changes(changes_path), open_bundle(base)
    version = before.manifest.format_version
    with BundleWriter(out, force=force, format_version=version) as writer:
        fit: Fit = "final" if before.manifest.fit == "final" else "evaluation"
        trained = load_trained(run_dir, fit=fit)
        typed = replace(before.features, record=())
        if trained.spec != before.spec or trained.typed != typed:
            raise InputError(f"{run_dir}: not the run that {base} was exported from.")
        centroids = np.asarray(before.array("index/centroids"))
        table = apply_changes(
            known_items(before),
            changes,
            centroids,
            frozenset(trained.items.ids),
            lambda items: _vectors(trained, run_dir, items),
            trained.declared,
        )
        all_rows, table = len(table), table.compacted(trained.recipe.export.compact_share)
        removed = all_rows - len(table)
        taken = _POLICY_FILES if campaigns else (*_POLICY_FILES, CAMPAIGNS_FILE)
        for entry in before.manifest.files:
            if entry.kind == "model" or entry.name in taken:
                writer.add(entry.name, before.read(entry.name), entry.kind, **entry.meta)
        if campaigns:
            found = read_campaigns(campaigns, before.rules, table.items.ids, table.available)
            writer.add(CAMPAIGNS_FILE, canonical_json(found.to_json()), "json")
        index = sort_into_cells(table.rows, table.scales, table.items.ids, table.cell, centroids)
        add_items(
            writer,
            before.spec,
            table.items,
            index,
            table.popularity,
            table.available,
            table.neighbours,
            before,
            typed=typed,
            encoded=table.typed,
        )
        facts = {
            "name": named or f"{before.manifest.name.partition('+')[0]}+{changes.digest}",
            "recipe_name": before.manifest.recipe_name,
        }
        created = before.manifest.created_utc
        draft = Bundle(writer.manifest(**facts, created_utc=created), writer.blob_dir)
        answered = _answers(before, draft, force)
        golden.add(writer, answered)
        add_set_proofs(writer, draft, answered.golden, answered.stages)
        for name, text in _card(before, facts["name"], changes, removed).items():
            writer.add(name, text, "card")
        manifest = writer.finish(**facts, created_utc=created)
    return CatalogueReport(
        name=facts["name"],
        items=len(table),
        added=len(changes.add),
        changed=len(changes.change),
        withdrawn=len(changes.withdraw),
        restored=len(changes.restore),
        compacted=removed > 0,
        removed=removed,
        bundle_bytes=manifest.total_bytes(),
    )


_POLICY_FILES = ("feature_spec.json", OBJECTIVES_FILE, "policy.json", RULES_FILE)
"""What a catalogue release takes over from its base beside the models."""


def known_items(bundle: Bundle) -> ItemTable:
    """Read all that a release holds of its items, in its own row order."""
    offsets = np.asarray(bundle.array("index/offsets"))
    popularity = [bundle.spec.numeric.index(name) for name in popularity_columns(bundle.spec)]
    rows = np.arange(bundle.item_count)
    return ItemTable(
        items=replace(_items(bundle), features=_features(bundle)),
        rows=np.asarray(bundle.array("index/rows")),
        scales=bundle.scales[rows],
        cell=np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)),
        popularity=bundle.numeric[rows][:, popularity],
        available=bundle.available[rows],
        neighbours=Neighbours.of(bundle),
        typed={} if bundle.item_features is None else bundle.item_features.encoded(),
    )


def _features(bundle: Bundle) -> dict[str, NDArray[np.float32]]:
    """Return the declared features that a release has, NaN = unknown."""
    known = {*NUMERIC, *popularity_columns(bundle.spec)}
    rows = np.arange(bundle.item_count)
    found = {}
    for place, name in enumerate(bundle.spec.numeric):
        if name not in known:
            values = column_at(bundle.numeric, place)[rows]
            found[name] = np.where(values < 0, np.float32(np.nan), values)
    return found


def _items(bundle: Bundle) -> Items:
    n = bundle.item_count
    ids, titles, categories = [], [], []
    price, year = np.full(n, MISSING, np.float32), np.full(n, MISSING, np.float32)
    split: dict[str, tuple[str, ...]] = {}  # many items share their categories
    with Progress("base catalogue", n) as bar:
        for item in Catalogue(bundle.path("catalogue.sqlite")).all_items(n):
            ids.append(item.item_id)
            titles.append(item.title)
            if item.categories not in split:
                split[item.categories] = split_categories(item.categories)
            categories.append(split[item.categories])
            if item.price is not None:
                price[item.row] = item.price
            if item.year is not None:
                year[item.row] = item.year
            if item.row % SHOWN_EVERY == 0:
                bar.advance(item.row)
        bar.advance(n)
    return Items(
        ids=ids,
        titles=titles,
        categories=categories,
        price=price,
        year=year,
        audience=bundle.audience.of_items(n),
    )


def _vectors(trained: TrainedRun, run_dir: Path, items: Items) -> NDArray[np.float32]:
    """Vectors of items that join, float32 [n, d].

    By content; an item that training knew, and a compaction removed, gets its own vector again.
    """
    row_of = {item_id: row for row, item_id in enumerate(trained.items.ids)}
    rows = np.array([row_of.get(item_id, -1) for item_id in items.ids])
    fresh = np.flatnonzero(rows < 0)
    vectors: NDArray[np.float32] = trained.item_vectors[rows]
    if len(fresh):
        data = load_dataset(trained.recipe, run_dir)
        vectors[fresh] = lifted_vectors(trained, data, items.pick(fresh))
    return vectors


def _card(before: Bundle, name: str, changes: Changes, removed: int) -> dict[str, bytes]:
    """Put the release's name and changes before the base's card: models and data are its own."""
    counts = changes.counts()
    facts = {"base": before.manifest.name, "changes": counts, "removed": removed}
    card = {**before.json("model_card.json"), **facts}
    told = ", ".join(f"{n} {key}" for key, n in counts.items())
    if removed:
        told += f"; {removed} withdrawn items removed for good"
    head = f"# {name}\n\nThe catalogue of {before.manifest.name}, changed ({told}).\n\n"
    base = before.read("model_card.md").decode("utf-8", errors="replace")
    return {
        "model_card.json": canonical_json(card),
        "model_card.md": (head + base[max(0, base.rfind("\n# ") + 1) :]).encode(),
    }


def _answers(before: Bundle, draft: Bundle, force: bool) -> golden.GoldenAnswers:
    """The base's golden requests, answered from the new catalogue; what it lost is passed over.

    Raises:
        GateRefusedError: see `golden.answered`.
    """
    old = Golden.of(before)
    made = golden.answered(draft, list(old.cases), force=force)
    wide = replace(
        made.golden,
        vector_tolerance=max(old.vector_tolerance, made.golden.vector_tolerance),
        score_tolerance=max(old.score_tolerance, made.golden.score_tolerance),
    )
    return replace(made, golden=wide)
