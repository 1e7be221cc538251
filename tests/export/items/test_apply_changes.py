"""Changes against a plain dict of items, through files, releases and compactions."""

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.items.cohorts import MAX_COHORT_ITEMS
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.quantize import quantize_rows
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.writer import BundleWriter
from pocketrec_export.items.apply_changes import apply_changes
from pocketrec_export.items.catalogue import known_items
from pocketrec_export.items.changes import read_changes
from pocketrec_export.items.content import add_items
from pocketrec_export.items.index_builder import nearest, sort_into_cells
from pocketrec_export.items.item_table import ItemTable
from pocketrec_training.data.dataset import Items

DIM, CELLS = 4, 3
TRAINED = tuple("abcdef")
SHARE = 0.3
SPEC = FeatureSpec(
    dim=DIM,
    max_history=2,
    event_types=("like",),
    categories=("x", "y"),
    max_categories=2,
    heads=("engage",),
    head_weights=(1.0,),
    candidates=4,
    neighbours=2,
)
POLICY = Policy(slate=3, category_cap=0, near_duplicate_cosine=0.98, probes=0, candidates=4)
CENTROIDS = np.random.default_rng(0).normal(size=(CELLS, DIM)).astype(np.float32)


@dataclass
class Item:
    """The plain form of an item."""

    title: str
    categories: tuple[str, ...]
    price: float
    year: float
    available: bool
    cell: int
    row: bytes
    scale: bytes
    regions: tuple[str, ...] = ()
    age: int = 255


def vectors_for(items: Items):
    """A vector that depends on an item's content alone."""
    columns = zip(items.titles, items.categories, items.price, items.year, strict=True)
    seeds = [crc32(repr((t, c, float(p), float(y))).encode()) for t, c, p, y in columns]
    return np.stack([np.random.default_rng(s).normal(size=DIM) for s in seeds]).astype(np.float32)


def items_of(ids) -> Items:
    n = len(ids)
    return Items(
        ids=list(ids),
        titles=[f"T {i}" for i in ids],
        categories=[("x",)] * n,
        price=np.full(n, 1.5, np.float32),
        year=np.full(n, 1990, np.float32),
    )


def first_table(ids=TRAINED) -> ItemTable:
    rng = np.random.default_rng(1)
    n = len(ids)
    rows, scales = quantize_rows(rng.normal(size=(n, DIM)).astype(np.float32))
    return ItemTable(
        items=items_of(ids),
        rows=rows,
        scales=scales,
        cell=rng.integers(0, CELLS, n),
        popularity=rng.integers(0, 9, (n, 1)).astype(np.float32),
        available=np.ones(n, np.bool_),
        neighbours=Neighbours(
            rows=rng.integers(0, n, (n, 2)).astype(np.int32),
            weights=rng.integers(1, 9, (n, 2)).astype(np.int8),
            scales=np.ones(n, np.float32),
        ),
    )


def released(table: ItemTable, folder: Path) -> Bundle:
    """Write the items as a release does and open it."""
    index = sort_into_cells(table.rows, table.scales, table.items.ids, table.cell, CENTROIDS)
    with BundleWriter(folder, force=True) as writer:
        add_items(
            writer, SPEC, table.items, index, table.popularity, table.available, table.neighbours
        )
        writer.add("feature_spec.json", canonical_json(SPEC.to_json()), "json")
        writer.add("policy.json", canonical_json(POLICY.to_json()), "json")
        return Bundle(writer.finish(name="t", recipe_name="t", created_utc=1), folder / "files")


def plain(table: ItemTable) -> dict[str, Item]:
    items, audience = table.items, table.items.for_whom()
    return {
        item_id: Item(
            items.titles[n],
            items.categories[n],
            float(items.price[n]),
            float(items.year[n]),
            bool(table.available[n]),
            int(table.cell[n]),
            table.rows[n].tobytes(),
            table.scales[n].tobytes(),
            tuple(sorted(audience.regions[n])),
            int(audience.age_ratings[n]),
        )
        for n, item_id in enumerate(items.ids)
    }


def known_content(one: dict) -> dict:
    """What a release keeps of a JSON item."""
    found = {}
    if "title" in one:
        found["title"] = one["title"]
    if "categories" in one:
        found["categories"] = tuple(p for c in one["categories"] for p in c.split("|") if p)
    if "regions" in one:
        found["regions"] = tuple(sorted(one["regions"]))
    if "age_rating" in one:
        found["age"] = 255 if one["age_rating"] is None else one["age_rating"]
    for key, kept in (("price", float), ("year", int)):
        if key in one:
            value = one[key]
            found[key] = -1.0 if value is None or value < 0 else float(np.float32(kept(value)))
    return found


def with_vector(item: Item, item_id: str) -> Item:
    vector = vectors_for(
        replace(
            items_of([item_id]),
            titles=[item.title],
            categories=[item.categories],
            price=np.array([item.price], np.float32),
            year=np.array([item.year], np.float32),
        )
    )
    row, scale = quantize_rows(vector)
    cell = int(nearest(vector, CENTROIDS)[0])
    return replace(item, row=row.tobytes(), scale=scale.tobytes(), cell=cell)


def apply_plainly(world: dict[str, Item], steps: list[dict]) -> None:
    for step in steps:
        ((kind, value),) = step.items()
        match kind:
            case "add":
                item_id = value["item_id"]
                item = Item(item_id, (), -1.0, -1.0, True, 0, b"", b"")
                world[item_id] = with_vector(replace(item, **known_content(value)), item_id)
            case "withdraw":
                world[value] = replace(world[value], available=False)
            case "restore":
                world[value] = replace(world[value], available=True)
    before = dict(world)
    for step in steps:  # later changes of one item see the earlier ones
        if value := step.get("change"):
            item_id = value["item_id"]
            world[item_id] = replace(world[item_id], **known_content(value))
    for item_id, item in world.items():
        same = replace(item, regions=before[item_id].regions, age=before[item_id].age)
        if same != before[item_id] and item_id not in TRAINED:
            world[item_id] = with_vector(item, item_id)
    gone = [item_id for item_id, item in world.items() if not item.available]
    if len(gone) < len(world) and len(gone) > SHARE * len(world):
        for item_id in gone:
            del world[item_id]


CONTENT = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from(["", "é", "a b"]),
        "categories": st.lists(st.sampled_from(["x", "y", "x|y", "z", ""]), max_size=3),
        "price": st.sampled_from([None, 0, 2.1, -3]),
        "year": st.sampled_from([None, 1990, 2001.7]),
        "regions": st.lists(st.sampled_from(["DE", "AT", "CH"]), max_size=2, unique=True),
        "age_rating": st.sampled_from([None, 0, 16]),
    },
)
IDS = st.sampled_from([*TRAINED, "g", "h", "é", "0"])
STEPS = st.lists(st.tuples(IDS, CONTENT, st.booleans()), max_size=8)


def fitting(world: dict[str, Item], drawn) -> list[dict]:
    """Turn draws into changes that fit the catalogue; each id is withdrawn or restored once."""
    steps, added, moved = [], set(), set()
    for item_id, content, move in drawn:
        value = {"item_id": item_id, **content}
        if item_id not in world:
            if item_id not in added:
                steps.append({"add": value})
                added.add(item_id)
        elif move and item_id not in moved:
            moved.add(item_id)
            kind = "withdraw" if world[item_id].available else "restore"
            steps.append({kind: item_id})
        else:
            steps.append({"change": value})
    return steps


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, max_size=4))
def test_releases_hold_what_a_plain_dict_of_items_holds(releases):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bundle = released(first_table(), folder / "bundle")
        world = plain(first_table())
        for drawn in releases:
            steps = fitting(world, drawn)
            (folder / "c.jsonl").write_text("".join(json.dumps(s) + "\n" for s in steps))
            changes = read_changes(folder / "c.jsonl")
            table = apply_changes(
                known_items(bundle), changes, CENTROIDS, frozenset(TRAINED), vectors_for
            )
            bundle = released(table.compacted(SHARE), folder / "bundle")
            apply_plainly(world, steps)
            assert_equal(bundle, world)


def assert_equal(bundle: Bundle, world: dict[str, Item]) -> None:
    ids = [bundle.item_id(row) for row in range(bundle.item_count)]
    assert ids == sorted(world, key=lambda i: (world[i].cell, i.encode()))
    assert plain(known_items(bundle)) == world
    every = np.arange(bundle.item_count)
    numeric, codes = bundle.numeric[every], bundle.categories[every]
    for row, item_id in enumerate(ids):
        item = world[item_id]
        assert bundle.row_of(item_id) == row
        assert bundle.available[row] == item.available
        assert numeric[row, 1:].tolist() == [item.year, item.price]
        known = [SPEC.categories.index(c) + 1 for c in item.categories if c in SPEC.categories][:2]
        assert codes[row].tolist() == known + [0] * (2 - len(known))
    available, offsets = bundle.available, np.asarray(bundle.array("index/offsets"))
    assert np.diff(offsets).tolist() == [
        sum(item.cell == cell for item in world.values()) for cell in range(CELLS)
    ]
    popular = [ids[row] for row in np.asarray(bundle.array("items/popular"))]
    assert sorted(popular) == sorted(i for i in world if world[i].available)
    for code in range(len(SPEC.categories) + 1):
        best = sorted(
            (row for row in every if available[row] and code and code in codes[row]),
            key=lambda row: (-numeric[row, 0], row),
        )
        assert bundle.cohorts is not None
        assert bundle.cohorts.items(code).tolist() == best[:MAX_COHORT_ITEMS]


def test_an_update_of_one_in_a_hundred_changes_these_rows_alone(tmp_path: Path):
    ids = [f"i{n:03d}" for n in range(400)]
    table = first_table(ids)
    steps = [
        {"add": {"item_id": "new-1", "title": "one"}},
        {"change": {"item_id": "i010", "title": "known by its content alone"}},
        {"change": {"item_id": "i020", "title": "trained"}},
        {"withdraw": "i030"},
    ]
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(map(json.dumps, steps)))
    trained = frozenset(ids) - {"i010"}
    after = apply_changes(table, read_changes(path), CENTROIDS, trained, vectors_for)
    one, two = released(table, tmp_path / "one"), released(after, tmp_path / "two")
    old, new = plain(known_items(one)), plain(known_items(two))
    moved = {
        i for i in new if i not in old or (old[i].row, old[i].scale) != (new[i].row, new[i].scale)
    }
    assert moved == {"new-1", "i010"}
    assert {i for i in old if old[i].cell != new[i].cell} <= {"i010"}
    assert {i for i in old if old[i] != new[i]} == {"i010", "i020", "i030"}
    order = [two.item_id(row) for row in range(two.item_count) if two.item_id(row) not in moved]
    assert order == [i for i in map(one.item_id, range(one.item_count)) if i not in moved]


def test_an_emptied_cell_stays_as_an_empty_cell_and_neighbours_point_to_who_stayed(tmp_path: Path):
    table = first_table()
    gone = table.cell == table.cell[0]
    assert 0 < gone.sum() < len(table)
    small = replace(table, available=~gone).compacted(0.0)
    bundle = released(small, tmp_path / "b")
    offsets = np.asarray(bundle.array("index/offsets"))
    assert np.diff(offsets)[table.cell[0]] == 0
    assert len(offsets) == CELLS + 1
    ids = [bundle.item_id(row) for row in range(bundle.item_count)]
    rows = np.asarray(bundle.array("items/neighbours"))
    weights = np.asarray(bundle.array("items/neighbour_weights"))
    assert rows.max() < len(ids)
    assert table.neighbours is not None
    for row, item_id in enumerate(ids):
        old = TRAINED.index(item_id)
        wanted = [
            (TRAINED[near], int(weight))
            for near, weight in zip(
                table.neighbours.rows[old], table.neighbours.weights[old], strict=True
            )
            if not gone[near]
        ]
        pairs = zip(rows[row], weights[row], strict=True)
        assert [(ids[near], int(w)) for near, w in pairs if w] == wanted


@pytest.mark.parametrize(
    ("share", "left"), [(0.49, 3), (0.5, 6), (1.0, 6)], ids=["above", "at", "never"]
)
def test_rows_go_when_more_than_the_share_is_withdrawn(share, left):
    table = replace(first_table(), available=np.arange(6) % 2 == 0)
    assert len(table.compacted(share)) == left


def test_a_catalogue_without_any_available_item_keeps_its_rows():
    table = replace(first_table(), available=np.zeros(6, np.bool_))
    assert table.compacted(0.0) is table


def test_content_that_stays_the_same_gives_no_new_vector(tmp_path: Path):
    (tmp_path / "c.json").write_text('{"change": [{"item_id": "a", "title": "T a", "year": 1990}]}')
    changes = read_changes(tmp_path / "c.json")
    after = apply_changes(first_table(), changes, CENTROIDS, frozenset(), vectors_for)
    assert plain(after) == plain(first_table())


def test_errors_name_the_file_and_the_item(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    for steps, told in (
        ([{"add": {"item_id": "n"}}, {"add": {"item_id": "n"}}], "add: 'n' is added twice"),
        ([{"restore": "gone"}], "restore: 'gone' .* add it again"),
        ([{"withdraw": "gone"}], "withdraw: 'gone' is not in"),
    ):
        path.write_text("\n".join(map(json.dumps, steps)))
        with pytest.raises(InputError, match=rf"c\.jsonl: {told}"):
            apply_changes(first_table(), read_changes(path), CENTROIDS, frozenset(), vectors_for)
