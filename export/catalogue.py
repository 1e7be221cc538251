"""A catalogue-only release: items added, changed or withdrawn, the same models, no training."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bundle.errors import InputError
from bundle.features import MISSING
from bundle.files import canonical_json
from bundle.golden import Golden, GoldenCase
from bundle.reader import Bundle, open_bundle
from bundle.writer import BundleWriter
from export import golden
from export.content import add_items
from export.index_builder import arrange
from training.dataset import Items, split_categories
from training.trained import load_trained

_KEYS = {"item_id", "title", "categories", "price", "year"}
MAX_CHANGES_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueReport:
    """What changed; bundle_bytes counts each file once."""

    name: str
    items: int
    added: int
    changed: int
    withdrawn: int
    bundle_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Parsed changes: new items, new content of known items, ids to withdraw."""

    add: list[dict[str, Any]]
    change: list[dict[str, Any]]
    withdraw: list[str]


def update_catalogue(
    base: Path, changes_path: Path, run_dir: Path, out: Path, *, force: bool = False
) -> CatalogueReport:
    """Make the next release from a bundle and a list of changes.

    Centroids stay, rows stay in (cell, id) order, and vectors of unchanged items keep their bytes,
    so a delta carries little more than what changed. New items get their vector from content alone.

    Raises:
        InputError: the changes are malformed, add a known id, or name an unknown one.
        BundleInvalid: the base fails its checks.
    """
    before, trained = open_bundle(base), load_trained(run_dir)
    changes = read_changes(changes_path)
    items, vectors, popularity, available = _known(before)
    row_of = {item_id: row for row, item_id in enumerate(items.ids)}
    _check(changes, row_of)
    for item_id in changes.withdraw:
        available[row_of[item_id]] = False
    touched = [row_of[one["item_id"]] for one in changes.change]
    items = _merge(items, changes, touched)
    fresh = [*touched, *range(len(row_of), len(items))]
    vectors = np.concatenate([vectors, np.zeros((len(changes.add), vectors.shape[1]), np.float32)])
    if changes.add:
        new = list(range(len(row_of), len(items)))
        vectors[new] = trained.item_vectors_for(_pick(items, new))
    popularity = np.concatenate([popularity, np.zeros(len(changes.add), np.float32)])
    available = np.concatenate([available, np.ones(len(changes.add), np.bool_)])
    centroids = np.asarray(before.array("index/centroids"))
    with BundleWriter(out, force=force) as writer:
        for entry in before.manifest.files:
            if entry.kind == "model" or entry.name in ("feature_spec.json", "policy.json"):
                writer.add(entry.name, before.read(entry.name), entry.kind, **entry.meta)
        index = arrange(vectors, items.ids, centroids)
        add_items(writer, before.spec, items, index, popularity, available)
        facts = {
            "name": f"{before.manifest.name.partition('+')[0]}+{_digest(changes)}",
            "recipe_name": before.manifest.recipe_name,
        }
        created = before.manifest.created_utc
        draft = Bundle(writer.manifest(**facts, created_utc=created), writer.blob_dir)
        writer.add("golden.json", canonical_json(_answers(before, draft).to_json()), "json")
        card = {"base": before.manifest.name, "changes": changes_counts(changes)}
        writer.add("model_card.json", canonical_json(card), "card")
        writer.add("model_card.md", before.read("model_card.md"), "card")
        manifest = writer.finish(**facts, created_utc=created)
    sizes = {entry.sha256: entry.bytes for entry in manifest.files}
    return CatalogueReport(
        name=facts["name"],
        items=len(items),
        added=len(changes.add),
        changed=len(fresh) - len(changes.add),
        withdrawn=len(changes.withdraw),
        bundle_bytes=sum(sizes.values()),
    )


def read_changes(path: Path) -> Changes:
    """Read and check a changes file.

    Raises:
        InputError: it is missing, too large, no JSON, or not of the form in `export --help`.
    """
    try:
        if path.stat().st_size > MAX_CHANGES_BYTES:
            raise InputError(f"{path}: larger than {MAX_CHANGES_BYTES} bytes.")
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as err:
        raise InputError(f"{path}: cannot be read as JSON ({err}).") from err
    if not isinstance(value, dict) or not value or value.keys() - {"add", "change", "withdraw"}:
        raise InputError(f'{path}: expected an object with "add", "change" or "withdraw".')
    found = Changes(
        add=value.get("add", []),
        change=value.get("change", []),
        withdraw=value.get("withdraw", []),
    )
    for one in [*found.add, *found.change]:
        if not isinstance(one, dict) or one.keys() - _KEYS or not _fits(one):
            raise InputError(f"{path}: not an item with {', '.join(sorted(_KEYS))}: {one!r:.200}")
    if not all(isinstance(item_id, str) for item_id in found.withdraw):
        raise InputError(f"{path}: withdraw must list item ids as texts.")
    return found


def changes_counts(changes: Changes) -> dict[str, int]:
    """Return how many items each kind of change touches."""
    return {
        "add": len(changes.add),
        "change": len(changes.change),
        "withdraw": len(changes.withdraw),
    }


def _fits(one: dict[str, Any]) -> bool:
    categories = one.get("categories", [])
    numbers = (one.get("price"), one.get("year"))
    return (
        isinstance(one.get("item_id"), str)
        and bool(one["item_id"])
        and isinstance(one.get("title", ""), str)
        and isinstance(categories, list)
        and all(isinstance(name, str) for name in categories)
        and all(n is None or (isinstance(n, int | float) and abs(n) < 1e12) for n in numbers)
    )


def _check(changes: Changes, row_of: dict[str, int]) -> None:
    added = [one["item_id"] for one in changes.add]
    twice = [i for i in added if i in row_of or added.count(i) > 1]
    unknown = [
        i for i in [*(c["item_id"] for c in changes.change), *changes.withdraw] if i not in row_of
    ]
    if twice:
        raise InputError(f"add: {twice[0]!r} is in the catalogue already; use change.")
    if unknown:
        raise InputError(f"{unknown[0]!r} is not in the base bundle's catalogue.")


def _known(bundle: Bundle) -> tuple[Items, Any, Any, Any]:
    """Read a bundle's items back, sorted by id (canonical order)."""
    shown = bundle.catalogue(list(range(bundle.item_count)))
    shown = sorted(shown, key=lambda item: item.item_id)
    rows = np.array([item.row for item in shown])
    items = Items(
        ids=[item.item_id for item in shown],
        titles=[item.title for item in shown],
        categories=[split_categories(item.categories) for item in shown],
        price=np.array([MISSING if i.price is None else i.price for i in shown], np.float32),
        year=np.array([MISSING if i.year is None else i.year for i in shown], np.float32),
    )
    scales = bundle.array("index/scales")[rows]
    vectors = bundle.array("index/rows")[rows].astype(np.float32) * scales[:, None]
    popularity = np.asarray(bundle.array("items/numeric")[rows, 0])
    return items, vectors, popularity, bundle.array("items/flags")[rows] == 1


def _merge(items: Items, changes: Changes, touched: list[int]) -> Items:
    titles, categories = list(items.titles), list(items.categories)
    price, year = items.price.copy(), items.year.copy()
    for row, one in zip(touched, changes.change, strict=True):
        titles[row] = one.get("title", titles[row])
        categories[row] = tuple(one.get("categories", categories[row]))
        price[row] = _number(one.get("price", price[row]))
        year[row] = _number(one.get("year", year[row]))
    return Items(
        ids=[*items.ids, *(one["item_id"] for one in changes.add)],
        titles=[*titles, *(one.get("title", one["item_id"]) for one in changes.add)],
        categories=[*categories, *(tuple(one.get("categories", [])) for one in changes.add)],
        price=np.append(price, [_number(o.get("price")) for o in changes.add]).astype(np.float32),
        year=np.append(year, [_number(o.get("year")) for o in changes.add]).astype(np.float32),
    )


def _number(value: Any) -> float:
    return MISSING if value is None else float(value)


def _pick(items: Items, rows: list[int]) -> Items:
    return Items(
        ids=[items.ids[r] for r in rows],
        titles=[items.titles[r] for r in rows],
        categories=[items.categories[r] for r in rows],
        price=items.price[rows],
        year=items.year[rows],
    )


def _digest(changes: Changes) -> str:
    value = {"add": changes.add, "change": changes.change, "withdraw": changes.withdraw}
    return hashlib.sha256(canonical_json(value)).hexdigest()[:8]


def _answers(before: Bundle, draft: Bundle) -> Golden:
    """The base's golden requests, answered from the new catalogue by the default variant."""
    old = Golden.from_json(before.json("golden.json"))
    blank: list[GoldenCase] = list(old.cases)
    return Golden(
        cases=tuple(golden.answer(draft, blank, "litert", None)),
        vector_tolerance=old.vector_tolerance,
        score_tolerance=old.score_tolerance,
    )
