import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec.cli import main
from pocketrec_bundle.encoding.columns import Coded, Stacked
from pocketrec_bundle.features import History
from pocketrec_bundle.items.audience import OpenAudience
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EngineError
from pocketrec_edge.faults import joined
from pocketrec_edge.recommend.filters import (
    FilterColumns,
    Filters,
    Range,
    cells_to_read,
    failing,
    unknown_names,
)
from pocketrec_edge.recommend.index import Index, search
from pocketrec_edge.recommend.index_reference import exact
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.surfaces import HOME, SEARCH, SURFACES, Surface
from pocketrec_export.conformance.tiny_bundle import N_ITEMS, tiny_audience, write_tiny_bundle

NOW = 1_700_000_000
NAMES = ("drama", "war", "comedy")
COLUMNS = ("popularity", "year", "price")


REGIONS = tuple(f"r{at}" for at in range(9))  # two bytes of bits


def fails(
    filters: Filters,
    categories: set[str],
    numbers: dict[str, float],
    regions: tuple[str, ...],
    age: int | None,
) -> bool:
    """One item, in plain words; numbers: those that are known."""
    if filters.region is not None and regions and filters.region not in regions:
        return True
    if filters.max_age_rating is not None:
        if age is None and not filters.unrated:
            return True
        if age is not None and age > filters.max_age_rating:
            return True
    for wanted in filters.ranges:
        if not (wanted.column in numbers and wanted.low <= numbers[wanted.column] <= wanted.high):
            return True
    if filters.any_of and not categories & {*filters.any_of}:
        return True
    return bool(categories & {*filters.none_of})


bounds = st.sampled_from((-2.0, 0.0, 0.5, 3.0, 7.25, float("inf")))
names = st.lists(st.sampled_from((*NAMES, "dramas")), max_size=3).map(tuple)
any_filters = st.builds(
    Filters,
    ranges=st.lists(
        st.builds(Range, column=st.sampled_from((*COLUMNS, "size")), low=bounds, high=bounds),
        max_size=3,
    ).map(tuple),
    any_of=names,
    none_of=names,
    region=st.sampled_from((None, None, "r0", "r7", "r8", "r9")),
    max_age_rating=st.sampled_from((None, None, 0, 12, 18, 300)),
    unrated=st.booleans(),
)


FORMS = st.sampled_from(("coded", "plain", "none"))


@given(any_filters, st.integers(0, 2**32 - 1), st.integers(1, 40), st.booleans(), FORMS)
@settings(deadline=None, max_examples=300)
def test_the_mask_says_of_every_item_what_plain_words_say(filters, seed, n, coded, audience):
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (7, 9)) * rng.integers(0, 2, (7, 1))
    ages = rng.choice(np.array([0, 6, 12, 18, 254, 255], np.uint8), 7)
    if audience == "none":
        bits[:], ages[:] = 0, 255
    tables = {
        "categories": rng.integers(0, 4, (7, 2)).astype(np.uint16),
        "numeric": rng.choice(np.array([-1, 0, 0.5, 3, 5, 7.25], np.float32), (7, 3)),
    }
    codes = rng.integers(0, 7, n).astype(np.uint8)
    if coded:
        categories = Coded(codes, tables["categories"])
        numeric = Stacked(tuple(Coded(codes, column) for column in tables["numeric"].T))
    else:
        categories, numeric = (table[codes] for table in tables.values())
    packed = np.packbits(bits, axis=1, bitorder="little")
    for_whom = OpenAudience()
    if audience != "none":
        whole = audience == "plain"
        for_whom = OpenAudience(
            region_names=REGIONS,
            regions=packed[codes] if whole else Coded(codes, packed),
            age_ratings=ages[codes] if whole else Coded(codes, ages),
        )
    columns = FilterColumns(
        category_names=NAMES,
        categories=categories,
        numeric_names=COLUMNS,
        numeric=numeric,
        audience=for_whom,
    )
    expected = [
        fails(
            filters,
            {NAMES[code - 1] for code in tables["categories"][at] if code},
            {
                name: float(value)
                for name, value in zip(COLUMNS, tables["numeric"][at], strict=True)
                if value >= 0
            },
            tuple(name for name, bit in zip(REGIONS, bits[at], strict=True) if bit),
            None if ages[at] == 255 else int(ages[at]),
        )
        for at in codes
    ]
    assert failing(columns, filters).tolist() == expected


def test_a_bound_is_compared_as_float32_as_prices_are_stored():
    columns = FilterColumns(
        category_names=(),
        categories=np.zeros((1, 1), np.uint16),
        numeric_names=("price",),
        numeric=np.array([[19.99]], np.float32),
        audience=OpenAudience(),
    )
    assert not failing(columns, Filters(ranges=(Range(column="price", high=19.99),))).any()
    assert failing(columns, Filters(ranges=(Range(column="price", low=float("nan")),))).all()


def index_of(rng, n: int, cells: int) -> Index:
    ends = np.sort(rng.integers(0, n + 1, cells - 1))
    return Index(
        rng.normal(size=(cells, 4)).astype(np.float32),
        np.array([0, *ends, n], np.int32),
        rng.integers(-127, 128, (n, 4)).astype(np.int8),
        rng.choice(np.array([0.5, 0.25], np.float32), n),
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_with_all_cells_read_the_best_survivors_are_found(seed, k, share):
    rng = np.random.default_rng(seed)
    index, barred = index_of(rng, 80, 5), rng.random(80) < share
    query = rng.integers(-3, 4, 4).astype(np.float32)  # exact in both, so ties are real ties
    rows, _ = search(index, query, k, 0, barred)
    assert rows.tolist() == exact(index, query, k, barred)


def clustered(rng) -> Index:
    """5,000 items around 50 centres."""
    centres = rng.normal(size=(50, 16)).astype(np.float32)
    vectors = np.repeat(centres, 100, axis=0) + rng.normal(size=(5000, 16)) * 0.8
    return Index(
        centres,
        np.arange(0, 5001, 100, dtype=np.int32),
        np.clip(vectors * 30, -127, 127).astype(np.int8),
        np.full(5000, 1 / 30, np.float32),
    )


@pytest.mark.parametrize("share", [0.5, 0.2, 0.05, 0.01])
@pytest.mark.parametrize("kind", ["anywhere", "one side", "some cells"])
def test_a_filter_costs_no_recall(share, kind):
    """Recall of the best 10 of 30 queries, 5 of 50 cells read; what passes lies as `kind` says."""
    rng = np.random.default_rng(4)
    index, nothing = clustered(rng), np.zeros(5000, np.bool_)
    match kind:
        case "anywhere":
            place = rng.random(5000)
        case "one side":
            place = index.rows @ rng.normal(size=16)
        case "some cells":
            place = np.repeat(rng.permutation(50) / 50, 100)
    barred = place > np.quantile(place, share)
    passing = int((~barred).sum())
    found = {}
    queries = rng.normal(size=(30, 16)).astype(np.float32)
    for probes, mask in ((5, nothing), (cells_to_read(5, 5000, passing), barred)):
        recalls = []
        for query in queries:
            rows, _ = search(index, query, 10, probes, mask)
            best, _ = search(index, query, 10, 0, mask)
            recalls.append(len({*rows.tolist()} & {*best.tolist()}) / 10)
        found[probes] = np.mean(recalls)
    without, filtered = found.values()
    assert 0.8 < without < 1
    assert filtered >= without


def test_cells_to_read_hold_as_many_passing_items():
    assert cells_to_read(5, 1000, 1000) == 5
    assert cells_to_read(5, 1000, 300) == 17  # 16.7
    assert cells_to_read(0, 1000, 300) == 0  # all of them
    assert cells_to_read(5, 1000, 0) == 5


def history(*rows: int) -> History:
    n = len(rows)
    return History(np.array(rows, np.int32), np.ones(n, np.int32), NOW - np.arange(n, 0, -1))


@given(
    any_filters.map(lambda f: replace(f, any_of=("a",)) if f.any_of else f),
    st.sampled_from(("model", "retrieval", "fallback")),
    st.sampled_from(((), (7, 20), tuple(range(300)))),
    st.sampled_from(SURFACES),
)
@settings(deadline=None, max_examples=80)
def test_whatever_answers_shows_nothing_that_fails(recommenders, filters, source, past, kind):
    recommender = recommenders[source]
    scaled = replace(
        filters,
        ranges=tuple(
            Range(column=r.column, low=r.low * 10, high=r.high * 10) for r in filters.ranges
        ),
        none_of=tuple({"drama": "b", "war": "c"}.get(name, "a") for name in filters.none_of),
    )
    at_hand = {HOME: [], SEARCH: [*range(90, 140)]}.get(kind, [5])
    scene = Surface(kind=kind, rows=np.array(at_hand, np.int32))
    slate = recommender.recommend(Query(history(*past), NOW, 20, filters=scaled, surface=scene))
    columns = FilterColumns.of(recommender.bundle)
    barred = failing(columns, scaled) | ~recommender.bundle.available
    assert not barred[[item.row for item in slate.items]].any()
    free = ~barred
    free[list(past)] = False
    if kind == SEARCH:
        assert {item.row for item in slate.items} == {*np.flatnonzero(~barred)} & {*at_hand}
    elif kind != HOME:
        assert source == "fallback" or 5 not in {item.row for item in slate.items}
    elif source == "fallback":
        # What was seen comes again where nothing else is left.
        assert len(slate.items) == min(20, free.sum() or (~barred).sum())
    else:
        assert bool(slate.items) == free.any()
    codes, told = [fault.code for fault in slate.faults], joined(slate.faults)
    assert ("all items filtered" in told) == ("all_filtered" in codes) == barred.all()
    assert all(text in told for text in unknown_names(columns, scaled))


class Broken:
    def run(self, inputs):
        raise EngineError("broken on purpose")


@pytest.fixture(scope="module")
def recommenders(small_release):
    from pocketrec_bundle.reader import open_bundle

    made = {name: Recommender(open_bundle(small_release)) for name in ("model", "retrieval")}
    made["retrieval"]._ranker = Broken()
    made["fallback"] = Recommender(open_bundle(small_release))
    made["fallback"]._tower = Broken()
    return made


def test_pages_keep_to_their_filters_to_the_end_of_the_list(small_release, tmp_path):
    phone = Device(tmp_path, bundle=small_release, clock=lambda: NOW)
    filters = Filters(any_of=("b",), ranges=(Range(column="year", low=30.0, high=60.0),))
    bundle = phone.bundle
    assert bundle is not None
    year = bundle.numeric[np.arange(300)][:, 1]
    passing = (np.arange(300) % 4 == 2) & (year >= 30) & (year <= 60) & bundle.available
    answer = phone.recommend(page=1, filters=filters)
    token, shown = answer.session, []
    while answer.items:
        shown += [item.row for item in answer.items]
        assert answer.page is not None
        answer = phone.recommend(page=(answer.page or 0) + 1, session=token, filters=filters)
    assert sorted(shown) == np.flatnonzero(passing).tolist()
    narrower = Filters(any_of=("b",), ranges=(Range(column="year", low=30.0, high=45.0),))
    again = phone.recommend(page=1, session=token, filters=narrower)
    assert [item.row for item in again.items] == [r for r in shown[:10] if year[r] <= 45]
    assert 0 < len(again.items) < 10


def test_the_same_filters_are_worked_out_once(release, monkeypatch):
    recommender = Recommender(release)
    calls = []

    def noted(*args):
        calls.append(args)
        return failing(*args)

    monkeypatch.setattr("pocketrec_edge.recommend.filters.failing", noted)
    for high in (20.0, 20.0, 30.0, 20.0):
        recommender.recommend(
            Query(history(7), NOW, filters=Filters(ranges=(Range(column="price", high=high),)))
        )
    assert len(calls) == 3


def call(runner, small_release, tmp_path, *words: str):
    common = ("--home", str(tmp_path), "--bundle", str(small_release), "--json")
    return runner.invoke(main, ["device", "recommend", *common, *words])


def test_the_command_filters(runner, small_release, tmp_path):
    words = ("--price-min", "10", "--price-max", "50", "--not-category", "a", "--range", "year")
    done = call(runner, small_release, tmp_path, "-k", "50", *words, "20", "inf")
    rows = np.array([item["row"] for item in json.loads(done.output)["items"]])
    phone = Device(tmp_path, bundle=small_release)
    assert phone.bundle is not None
    year, price = phone.bundle.numeric[rows][:, 1:].T
    assert ((price >= 10) & (price <= 50) & (year >= 20) & (rows % 4 != 1)).all()
    numeric = phone.bundle.numeric[np.arange(300)]
    passing = (numeric[:, 2] >= 10) & (numeric[:, 2] <= 50) & (numeric[:, 1] >= 20)
    passing &= (np.arange(300) % 4 != 1) & phone.bundle.available
    assert len(rows) == min(50, passing.sum()) > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--category", "B"), "this release has no category 'B'"),
        (("--region", "DE"), "this release has no region 'DE'"),
        (("--max-age-rating", "6"), "this release has no age ratings"),
        (("--unrated",), "--unrated goes with --max-age-rating"),
        (("--range", "yaer", "1", "2"), "no numeric column 'yaer', did you mean 'year'?"),
        (("--price-min", "5", "--price-max", "4"), "price: no number lies between 5 and 4"),
        (("--range", "year", "nan", "4"), "year: no number lies between nan and 4"),
    ],
)
def test_the_command_refuses_what_cannot_be_meant(runner, small_release, tmp_path, words, told):
    done = call(runner, small_release, tmp_path, *words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_the_command_names_the_region_that_was_meant(runner, tmp_path):
    write_tiny_bundle(tmp_path / "b")
    done = call(runner, tmp_path / "b", tmp_path, "--region", "r03 ", "--category", "wars")
    assert done.exit_code == 2
    assert "no category 'wars', did you mean 'war'?\n" in done.stderr
    assert "no region 'r03 ', did you mean 'r03'?" in done.stderr


def test_filters_that_nothing_passes_give_an_empty_slate_and_say_so(small_release, tmp_path):
    phone = Device(tmp_path, bundle=small_release)
    answer = phone.recommend(filters=Filters(ranges=(Range(column="price", low=1e9),)))
    assert answer.items == ()
    assert [*map(str, answer.faults)] == ["all items filtered"]


def test_a_child_in_one_region_sees_what_is_for_it(tmp_path):
    """Without models popular items answer: the list's, then the others, by popularity."""
    write_tiny_bundle(tmp_path / "b")
    phone = Device(tmp_path, bundle=tmp_path / "b")
    assert phone.bundle is not None
    given, numbers = tiny_audience(), phone.bundle.numeric[np.arange(N_ITEMS)]
    wanted = {
        row
        for row in range(N_ITEMS)
        if row % 9 and given.age_ratings[row] <= 12 and "r03" in (given.regions[row] or ["r03"])
    }
    answer = phone.recommend(50, filters=Filters(region="r03", max_age_rating=12))
    shown = [item.row for item in answer.items]
    assert {*shown} == wanted and len(shown) == len(wanted) > 5
    listed = [row for row in (3, 1, 20, 8, 11, 2) if row in wanted]
    assert shown[: len(listed)] == listed
    others = shown[len(listed) :]
    assert others == sorted(others, key=lambda row: (-numbers[row, 0], row))
    assert not any("filter" in fault.text for fault in answer.faults)
    unrated = phone.recommend(50, filters=Filters(region="r03", max_age_rating=12, unrated=True))
    more = {item.row for item in unrated.items} - wanted
    assert more and {int(given.age_ratings[row]) for row in more} == {255}
    lost = phone.recommend(50, filters=Filters(region="r03 "))
    assert all(not given.regions[item.row] for item in lost.items)
    assert [fault.code for fault in lost.faults] == ["model_unavailable", "unknown_filter"]
    assert "this release has no region 'r03 '" in lost.faults[1].text
