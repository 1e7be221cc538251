"""A catalogue-only release: items added, changed, withdrawn or restored; the same models."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.errors import InputError
from bundle.features import MISSING
from bundle.files import canonical_json
from bundle.golden import Golden
from bundle.neighbours import Neighbours
from bundle.quantize import quantize_rows
from bundle.reader import Bundle, open_bundle
from bundle.writer import BundleWriter
from export import golden
from export.build import SLACK
from export.content import add_items
from export.convert import ENGINES
from export.errors import GateRefused
from export.index_builder import BuiltIndex, nearest, sort_into_cells
from training.dataset import Items, load_dataset, popularity_columns, split_categories
from training.new_items import lifted_vectors
from training.trained import Trained, load_trained

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
    restored: int
    bundle_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Parsed changes: new items, new content of known items, ids to withdraw and to bring back."""

    add: list[dict[str, Any]]
    change: list[dict[str, Any]]
    withdraw: list[str]
    restore: list[str]


def update_catalogue(
    base: Path, changes_path: Path, run_dir: Path, out: Path, *, force: bool = False
) -> CatalogueReport:
    """Make the next release from a bundle and a list of changes.

    Centroids stay, rows stay in (cell, id) order, and vectors of unchanged items keep their bytes,
    so a delta carries little more than what changed. New items get their vector from content alone,
    lifted so that they are shown as often as new items used to be taken.

    Raises:
        InputError: the changes are malformed, add a known id, or name an unknown one.
        GateRefused: the engines disagree on the new catalogue.
        BundleInvalid: the base fails its checks.
    """
    before, trained = open_bundle(base), load_trained(run_dir)
    changes = read_changes(changes_path)
    known = _known(before)
    items, popularity, available = known.items, known.popularity, known.available
    row_of = {item_id: row for row, item_id in enumerate(items.ids)}
    _check(changes, row_of, known.available)
    for item_id in changes.withdraw:
        available[row_of[item_id]] = False
    for item_id in changes.restore:
        available[row_of[item_id]] = True
    touched = [row_of[one["item_id"]] for one in changes.change]
    items = _merge(items, changes, touched)
    new = _pick(items, list(range(len(row_of), len(items))))
    index = _extend(before, known, new, trained, run_dir)
    unknown = np.zeros((len(changes.add), popularity.shape[1]), np.float32)
    popularity = np.concatenate([popularity, unknown])
    neighbours = known.neighbours.extended(len(changes.add)) if known.neighbours else None
    available = np.concatenate([available, np.ones(len(changes.add), np.bool_)])
    version = before.manifest.format_version
    with BundleWriter(out, force=force, format_version=version) as writer:
        for entry in before.manifest.files:
            if entry.kind == "model" or entry.name in ("feature_spec.json", "policy.json"):
                writer.add(entry.name, before.read(entry.name), entry.kind, **entry.meta)
        add_items(writer, before.spec, items, index, popularity, available, neighbours, before)
        facts = {
            "name": f"{before.manifest.name.partition('+')[0]}+{_digest(changes)}",
            "recipe_name": before.manifest.recipe_name,
        }
        created = before.manifest.created_utc
        draft = Bundle(writer.manifest(**facts, created_utc=created), writer.blob_dir)
        writer.add("golden.json", canonical_json(_answers(before, draft, force).to_json()), "json")
        for name, text in _card(before, facts["name"], changes).items():
            writer.add(name, text, "card")
        manifest = writer.finish(**facts, created_utc=created)
    sizes = {entry.sha256: entry.bytes for entry in manifest.files}
    return CatalogueReport(
        name=facts["name"],
        items=len(items),
        added=len(changes.add),
        changed=len(changes.change),
        withdrawn=len(changes.withdraw),
        restored=len(changes.restore),
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
    known = [field.name for field in fields(Changes)]
    if not isinstance(value, dict) or not value or value.keys() - set(known):
        raise InputError(f"{path}: expected an object with some of {', '.join(known)}.")
    lists = {name: value.get(name, []) for name in known}
    if wrong := [name for name, one in lists.items() if not isinstance(one, list)]:
        raise InputError(f"{path}: {wrong[0]} must be a list.")
    found = Changes(**lists)
    for one in [*found.add, *found.change]:
        if not isinstance(one, dict) or one.keys() - _KEYS or not _fits(one):
            raise InputError(f"{path}: not an item with {', '.join(sorted(_KEYS))}: {one!r:.200}")
    if not all(isinstance(item_id, str) for item_id in [*found.withdraw, *found.restore]):
        raise InputError(f"{path}: withdraw and restore must list item ids as texts.")
    return found


def changes_counts(changes: Changes) -> dict[str, int]:
    """Return how many items each kind of change touches."""
    return {name: len(each) for name, each in asdict(changes).items()}


def _card(before: Bundle, name: str, changes: Changes) -> dict[str, bytes]:
    """Put the release's name and changes before the base's card: models and data are its own."""
    counts = changes_counts(changes)
    card = {**before.json("model_card.json"), "base": before.manifest.name, "changes": counts}
    told = ", ".join(f"{n} {key}" for key, n in counts.items())
    head = f"# {name}\n\nThe catalogue of {before.manifest.name}, changed ({told}).\n\n"
    base = before.read("model_card.md").decode("utf-8", errors="replace")
    return {
        "model_card.json": canonical_json(card),
        "model_card.md": (head + base[max(0, base.rfind("\n# ") + 1) :]).encode(),
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


def _check(changes: Changes, row_of: dict[str, int], available: NDArray[np.bool_]) -> None:
    added = [one["item_id"] for one in changes.add]
    twice = [i for i in added if i in row_of or added.count(i) > 1]
    named = [*(c["item_id"] for c in changes.change), *changes.withdraw, *changes.restore]
    unknown = [i for i in named if i not in row_of]
    if twice:
        gone = twice[0] in row_of and not available[row_of[twice[0]]]
        use = "restore, for it was withdrawn" if gone else "change"
        raise InputError(f"add: {twice[0]!r} is in the catalogue already; use {use}.")
    if unknown:
        raise InputError(f"{unknown[0]!r} is not in the base bundle's catalogue.")
    if both := set(changes.withdraw) & set(changes.restore):
        raise InputError(f"{min(both)!r} is both withdrawn and restored.")
    if here := [i for i in changes.restore if available[row_of[i]]]:
        raise InputError(f"restore: {here[0]!r} was never withdrawn.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The base's items in canonical order (sorted by id), with their rows as they lie there."""

    items: Items
    rows: NDArray[np.int8]
    scales: NDArray[np.float32]
    cell: NDArray[np.int64]
    popularity: NDArray[np.float32]
    available: NDArray[np.bool_]
    neighbours: Neighbours | None


def _known(bundle: Bundle) -> _Known:
    shown = bundle.catalogue(list(range(bundle.item_count)))
    shown = sorted(shown, key=lambda item: item.item_id)
    at = np.array([item.row for item in shown])
    offsets = np.asarray(bundle.array("index/offsets"))
    popularity = [bundle.spec.numeric.index(name) for name in popularity_columns(bundle.spec)]
    neighbours = Neighbours.of(bundle)
    return _Known(
        items=Items(
            ids=[item.item_id for item in shown],
            titles=[item.title for item in shown],
            categories=[split_categories(item.categories) for item in shown],
            price=np.array([MISSING if i.price is None else i.price for i in shown], np.float32),
            year=np.array([MISSING if i.year is None else i.year for i in shown], np.float32),
        ),
        rows=np.asarray(bundle.array("index/rows"))[at].astype(np.int8),
        scales=bundle.scales[at].astype(np.float32),
        cell=np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[at],
        popularity=bundle.numeric[at][:, popularity].astype(np.float32),
        available=bundle.available[at],
        neighbours=neighbours.reordered(at) if neighbours else None,
    )


def _extend(
    before: Bundle, known: _Known, new: Items, trained: Trained, run_dir: Path
) -> BuiltIndex:
    """Insert new items; known ones keep their bytes and their cell.

    Assigning them anew would move some: an item near the edge of two cells can be nearer the other
    centre once it is rounded to int8 (2 of 1,682 films at 64 cells).
    """
    centroids = np.asarray(before.array("index/centroids")).astype(np.float32)
    rows, scales, cell = known.rows, known.scales, known.cell
    if len(new):
        vectors = lifted_vectors(trained, load_dataset(trained.recipe, run_dir), new)
        new_rows, new_scales = quantize_rows(vectors)
        rows, scales = np.concatenate([rows, new_rows]), np.concatenate([scales, new_scales])
        cell = np.concatenate([cell, nearest(vectors, centroids)])
    return sort_into_cells(rows, scales, [*known.items.ids, *new.ids], cell, centroids)


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
    return hashlib.sha256(canonical_json(asdict(changes))).hexdigest()[:8]


def _answers(before: Bundle, draft: Bundle, force: bool) -> Golden:
    """The base's golden requests, answered from the new catalogue by the default variants.

    Raises:
        GateRefused: LiteRT and ONNX Runtime give different slates.
    """
    old = Golden.of(before)
    one, two = (golden.answer(draft, list(old.cases), engine, None) for engine in ENGINES)
    vector, score, differing = golden.largest_difference(one, two)
    if differing and not force:
        raise GateRefused(
            f"the engines disagree on {differing} of {len(one)} golden slates of the new "
            "catalogue. Export the run anew, or ship anyway with --force."
        )
    return Golden(
        cases=tuple(one),
        vector_tolerance=max(old.vector_tolerance, SLACK * vector),
        score_tolerance=max(old.score_tolerance, SLACK * score),
    )
