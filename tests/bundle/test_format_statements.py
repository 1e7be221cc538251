"""What FORMAT.md states in words, where no table of bounds says it, is what the code does."""

import re
import sqlite3
import threading
from dataclasses import replace

import numpy as np
import pytest

from pocketrec_bundle.candidates import extra_candidates
from pocketrec_bundle.encoding.delta import MAX_BYTES
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.features import History
from pocketrec_bundle.golden.edges import FILE as EDGES_FILE
from pocketrec_bundle.golden.edges import FIRST
from pocketrec_bundle.golden.rules import FILE as RULES_FILE
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.items import catalogue
from pocketrec_bundle.items.catalogue import MAX_ITEM_BYTES, CatalogueItem, write_catalogue
from pocketrec_bundle.manifest import FileEntry, Manifest
from pocketrec_bundle.ranker_features import SESSION_GAP_S
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.engines import select
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.recommend.filters import FilterColumns, Filters, Range, failing
from pocketrec_edge.recommend.rules.selection import calibrated, category_marks, commonest
from pocketrec_export.conformance.hostile_catalogues import hostile_catalogues
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_export.gates.choose import TARGETS
from pocketrec_export.targets import models_of

HARMLESS = {"empty", "trigger", "index on an expression", "UTF-16"}


@pytest.fixture
def page(repository) -> str:
    return (repository / "bundle" / "FORMAT.md").read_text()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("format") / "tiny"
    write_tiny_bundle(folder)
    return open_bundle(folder)


def anchor(heading: str) -> str:
    """The anchor that a page of Markdown gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_link_of_the_page_leads_to_a_heading(page):
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    assert len(set(headings)) == len(headings)
    links = re.findall(r"\]\(#(.+?)\)", page)
    assert len(links) > 40
    assert set(links) <= {anchor(heading) for heading in headings}
    contents = page.partition("## Contents")[2].partition("\n## ")[0]
    chapters = {anchor(name) for name in re.findall(r"^## (.+)$", page, re.MULTILINE)}
    assert chapters - {"contents"} <= set(re.findall(r"\]\(#(.+?)\)", contents))


def test_every_link_of_the_guides_into_the_page_leads_to_a_heading(page, repository):
    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)}
    guides = [*repository.glob("*.md"), *(repository / "docs").rglob("*.md")]
    links = {one for path in guides for one in re.findall(r"FORMAT\.md#([\w-]+)", path.read_text())}
    assert len(links) >= 5
    assert links <= anchors


def test_every_golden_case_that_the_page_names_is_in_a_release(page, tiny):
    edges, rules = tiny.json(EDGES_FILE), tiny.json(RULES_FILE)
    cases = [*edges["histories"], *edges["searches"], *rules["slates"]]
    named = re.findall(r"^Golden cases?: (.+?)\n\n", page, re.MULTILINE | re.DOTALL)
    quoted = [name for text in named for name in re.findall(r'"(.+?)"', text)]
    assert len(quoted) > 30
    assert set(quoted) <= {case["name"] for case in cases}


def depth(value) -> int:
    if not isinstance(value, dict | list):
        return 0
    parts = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, parts), default=0)


def test_json_nests_as_deep_as_the_page_says(page, tiny):
    names = [file.name for file in tiny.manifest.files if file.kind == "json"]
    deepest = max(depth(tiny.json(name)) for name in names)
    assert f"Nothing on this page nests deeper than {deepest} " in page


def model(name: str, variant: str, size: int, **meta) -> FileEntry:
    which, _, engine = name.partition(".")
    about = {"model": which, "engine": engine, "variant": variant, **meta}
    return FileEntry(
        name=f"models/{name}.{variant}", sha256="0" * 64, bytes=size, kind="model", meta=about
    )


def release(*files: FileEntry) -> Manifest:
    files = tuple(sorted(files, key=lambda file: file.name))
    return Manifest(name="r", recipe_name="r", created_utc=0, files=files)


def both(engine: str, variant: str, size: int, **meta) -> list[FileEntry]:
    return [model(f"{one}.{engine}", variant, size, **meta) for one in select.MODELS]


def opened_first(manifest: Manifest, engine: str) -> list[str]:
    """Variants of the user tower, in the order in which a device tries them."""
    return [str(file.meta["variant"]) for file in manifest.models("user_tower", engine)]


def test_targets_have_the_export_s_order(page):
    first = ", ".join(f"`{name}`" for name in TARGETS[:-1])
    assert f"{first} or `{TARGETS[-1]}`. For each target of its recipe, in this order" in page


def test_default_comes_first_then_the_smaller_file_then_the_lower_name():
    manifest = release(
        *both("litert", "fp32", 9, default=0, targets="legacy"),
        *both("litert", "fp16", 5, default=1, targets="android"),
        *both("litert", "int8", 3),
        *both("litert", "dynamic", 3),
        *both("onnx", "fp16", 1, default=1, targets="ios,web"),
    )
    assert opened_first(manifest, "litert") == ["fp16", "dynamic", "int8", "fp32"]


def test_an_app_of_one_target_takes_what_names_it_whatever_the_default():
    manifest = release(
        *both("litert", "fp32", 9, default=0, targets="legacy"),
        *both("litert", "fp16", 5, default=1, targets="android"),
        *both("onnx", "fp16", 1, default=1, targets="ios,web"),
        model("user_tower.litert", "int8", 1, default=0, targets="web"),  # and no ranker
    )
    found = {
        target: {file.name.partition(".")[2] for file in models_of(manifest, target)}
        for target in ("android", "ios", "web", "legacy")
    }
    assert found == {
        "android": {"litert.fp16"},
        "ios": {"onnx.fp16"},
        "web": {"onnx.fp16"},
        "legacy": {"litert.fp32"},
    }
    with pytest.raises(InputError, match="no models for android"):
        models_of(release(*both("onnx", "fp16", 1, default=1, targets="ios")), "android")


def test_a_release_without_targets_gives_each_target_its_engine_s_default():
    manifest = release(
        *both("litert", "fp32", 1),
        *both("litert", "fp16", 5, default=1),
        *both("onnx", "fp16", 1, default=1),
    )
    engines = {
        target: {file.meta["engine"] for file in models_of(manifest, target)}
        for target in ("android", "ios", "web", "legacy")
    }
    assert engines == {
        "android": {"litert"}, "legacy": {"litert"}, "ios": {"onnx"}, "web": {"onnx"}
    }  # fmt: skip
    assert all(file.meta["variant"] == "fp16" for file in models_of(manifest, "android"))


def test_litert_does_not_compare_its_version_and_tflite_does(monkeypatch):
    manifest = release(*both("litert", "fp16", 1, default=1, min_runtime="2.17.0"))
    modules = {"litert": "ai_edge_litert"}
    monkeypatch.setattr(select, "runtime", lambda engine: modules.get(engine, ""))
    assert select.runtime_version("litert") == ""
    assert select.lacks_runtime(manifest, "litert") is None
    assert len(select.needed_files(manifest)) == len(select.MODELS)
    monkeypatch.setattr(select, "runtime_version", lambda engine: "2.14.0")
    assert "needs ai_edge_litert 2.17.0" in str(select.lacks_runtime(manifest, "litert"))
    assert select.needed_files(manifest) == []


def test_events_of_unknown_ids_and_unknown_types_are_left_out(tmp_path, tiny):
    known = tiny.item_id(0)
    log = EventLog(tmp_path / "events.sqlite")
    log.append(known, "like", ts=10)
    log.append("not in the release", "like", ts=20)
    log.append(known, "no such type", ts=30)
    log.append(known, "rating", ts=40)
    history, unknown = log.history(tiny)
    log.close()
    assert unknown == 2
    assert (history.rows.tolist(), history.ts.tolist()) == ([0, 0], [10, 40])


def test_own_candidates_that_tie_come_by_the_lower_row(spec):
    spec = replace(spec, own_candidates=2)
    same_time = np.full(3, 50, np.int64)
    history = History(np.array([7, 2, 5], np.int32), np.zeros(3, np.int32), same_time)
    found = extra_candidates(spec, None, history, 100, np.zeros(9, np.bool_))
    assert found.tolist() == [2, 5]


def test_a_filter_by_a_name_that_the_release_lacks(page, tiny):
    columns = FilterColumns.of(tiny)
    everything = ~failing(columns, Filters())
    assert everything.all()

    def passing(**filters) -> np.ndarray:
        return ~failing(columns, Filters(**filters))

    assert not passing(ranges=(Range(column="nothing"),)).any()
    assert not passing(any_of=("nothing",)).any()
    assert passing(none_of=("nothing",)).all()
    without = replace(columns, audience=type(columns.audience)())
    assert columns.audience.regions is not None
    everywhere = ~columns.audience.regions[:].any(axis=1)
    assert 0 < everywhere.sum() < len(everywhere)
    assert (passing(region="nowhere") == everywhere).all()
    assert (~failing(without, Filters(region="nowhere"))).all()
    assert failing(without, Filters(max_age_rating=99)).all()
    assert not failing(without, Filters(max_age_rating=0, unrated=True)).any()


def test_an_item_without_marks_adds_nothing_and_counts():
    taste_codes, counts = commonest(np.array([1, 1, 0]))
    marks = category_marks(np.array([[1, 0], [0, 0], [1, 0]]), taste_codes)
    assert (marks.tolist(), counts.tolist()) == ([[1], [0], [1]], [2])
    relevance = np.array([1.0, 0.9, 0.85])
    # After item 0, item 1 makes q = 1/2. If it did not count, q stayed 1 and it came before item 2.
    assert calibrated(relevance, marks, np.ones(1), 0.5, 2).tolist() == [0, 2]
    # Without a mark in the history relevance decides, and of equals the first in the list.
    for weight in (0.5, 1.0):
        assert calibrated(relevance, marks, np.zeros(1), weight, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("n", [0, 1, FIRST, 40])
def test_golden_candidates_may_be_of_any_number(page, tiny, n):
    value = tiny.json("golden.json")
    value["cases"][0]["candidates"] = [0] * n
    assert len(Golden.from_json(value).cases[0].candidates) == n
    assert f"A\n  writer keeps at most {FIRST}." in page


def test_stated_limits_are_those_of_the_code(page):
    steps, a_row = catalogue._STEPS, catalogue._STEPS_A_ROW
    assert f"after {3 * steps} steps, and {a_row} more for each row" in page
    assert f"Files above {MAX_BYTES >> 20} MiB have no delta" in page
    assert f"a pause of more than {SESSION_GAP_S} s" in page
    assert f"above {MAX_ITEM_BYTES}" in page


class UnlimitedCatalogue:
    """The page's way to read a catalogue where SQLite has no limits."""

    def __init__(self, path, size_query: str) -> None:
        self._size_query = size_query
        address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        self._connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        schema = "SELECT type, sql FROM sqlite_master WHERE name = 'item'"
        if self._ask(schema) != [("table", catalogue.TABLE)]:
            raise ValueError("another table")

    def _ask(self, query: str, *values: int) -> list:
        timer = threading.Timer(1.0, self._connection.interrupt)
        timer.start()
        try:
            return self._connection.execute(query, values).fetchall()
        finally:
            timer.cancel()

    def item(self, row: int):
        if not (sizes := self._ask(self._size_query, row)):
            return None
        if sizes[0][0] > MAX_ITEM_BYTES:
            raise ValueError("too large")
        query = "SELECT row, item_id, title, categories, price, year FROM item WHERE row = ?"
        return catalogue._item(self._ask(query, row)[0])


@pytest.fixture
def size_query(page) -> str:
    (query,) = re.findall(r"^ *(SELECT length\(.+)$", page, re.MULTILINE)
    return query


def test_a_catalogue_is_read_without_sqlite_s_limits(tmp_path, size_query):
    items = [
        CatalogueItem(0, "é", "T" * 60_000, "a|b", 1.5, 1990),
        CatalogueItem(2, "b", "", "", None, None),
    ]
    write_catalogue(tmp_path / "c", items)
    found = UnlimitedCatalogue(tmp_path / "c", size_query)
    assert [found.item(row) for row in range(4)] == [items[0], None, items[1], None]


@pytest.mark.parametrize("name", hostile_catalogues())
def test_a_hostile_catalogue_does_no_harm_without_sqlite_s_limits(tmp_path, size_query, name):
    path = tmp_path / "c"
    path.write_bytes(hostile_catalogues()[name])
    try:
        found = UnlimitedCatalogue(path, size_query)
        answers = [found.item(0), found.item(1)]
    except (ValueError, BundleInvalidError, sqlite3.Error):
        assert name not in HARMLESS
        return
    assert name in HARMLESS
    assert all(one is None or one.row == 0 for one in answers)
