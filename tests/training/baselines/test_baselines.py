import dataclasses

import numpy as np
import pytest

from pocketrec_bundle.features import History
from pocketrec_training.baselines import BASELINES, Baseline, Ladder, counts, item_matrix, tuning
from pocketrec_training.baselines.baskets import baskets_of
from pocketrec_training.baselines.scorer import user_item_table
from pocketrec_training.baselines.tifu_knn import vectors
from pocketrec_training.baselines.tuning import TunedBaseline
from pocketrec_training.data.dataset import TEST, TRAIN, VALID, load_dataset
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.metrics.cases import held_out_cases
from pocketrec_training.recipe.load import parse_recipe

DAY = 86_400


def past(*pairs):
    """A history of (item row, day)."""
    rows, days = zip(*pairs, strict=True) if pairs else ((), ())
    ts = np.array(days, np.int64) * DAY
    return History(np.array(rows, np.int32), np.zeros(len(rows), np.int32), ts)


def start(baseline):
    """Return the parameters that the search starts from."""
    return {name: ladder.start for name, ladder in baseline.ladders.items()}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Two groups of 20 shoppers: one buys a, b, c again and again, the other d, e, f."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    lines = ["who,what,when"]
    for user in range(40):
        mine = "abc" if user % 2 else "def"
        for day in range(6):
            bought = rng.choice(list(mine), 2, replace=False)
            lines += [f"u{user:02},{item},{(day * 40 + user) * DAY}" for item in bought]
    (folder / "i.csv").write_text("\n".join(lines))
    value = {
        "name": "s",
        "data": {"interactions": "i.csv"},
        "columns": {"user": "who", "item": "what", "timestamp": "when", "timestamp_unit": "s"},
        "split": {"kind": "last_basket"},
    }
    recipe = parse_recipe(value, "s.toml")
    build_tables(recipe, folder / "data", folder)
    return load_dataset(recipe, folder / "data")


PERSONAL = [name for name in BASELINES if name not in ("popularity", "personal_frequency")]
FEW = {"tifu_knn": {"neighbours": 10}}
"""Neighbours among 40 shoppers, half of whom buy the same."""


def built(name, data, **parameters):
    """A method with its first parameters and those given; it scores one history at a time."""
    if BASELINES[name].needs:
        pytest.importorskip(BASELINES[name].needs)
    build = fitted(name, data)
    chosen = {**start(BASELINES[name]), **FEW.get(name, {}), **parameters}
    score = build(**chosen)
    return lambda user, history: score([(user, history)])[0]


def fitted(name, data):
    parts = [
        fitted(part, data)(**start(BASELINES[part]) | FEW.get(part, {}))
        for part in BASELINES[name].parts
    ]
    return BASELINES[name].fit(data, *parts)


@pytest.mark.parametrize("name", PERSONAL)
def test_method_prefers_what_goes_with_the_history(shop, name):
    score = built(name, shop)
    a, b, c, d, e, f = range(6)
    own = score(1, past((a, 0), (b, 0)))
    assert own[c] > max(own[d], own[e], own[f])
    other = score(0, past((d, 0), (e, 0)))
    assert other[f] > max(other[a], other[b], other[c])


@pytest.mark.parametrize("name", BASELINES)
def test_every_method_answers_an_empty_history_with_finite_scores(shop, name):
    found = built(name, shop)(0, History.empty())
    assert found.shape == (6,)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", BASELINES)
def test_a_block_is_scored_as_its_histories_are_one_by_one(shop, name):
    if BASELINES[name].needs:
        pytest.importorskip(BASELINES[name].needs)
    asked = [(0, shop.history(0, 5)), (7, History.empty()), (3, shop.history(3, 9))]
    score = fitted(name, shop)(**start(BASELINES[name]) | FEW.get(name, {}))
    alone = np.concatenate([score([one]) for one in asked])
    assert score(asked) == pytest.approx(alone, rel=1e-4, abs=1e-6)


def test_popularity_counts_training_events_and_halves_old_ones(shop):
    counts = np.bincount(shop.rows[shop.fold == 0], minlength=6)
    assert built("popularity", shop)(0, past()).tolist() == counts.tolist()
    halved = built("popularity", shop, half_life_days=10.0)(0, past())
    trained = shop.fold == 0
    ages = (shop.ts[trained].max() - shop.ts[trained]) / DAY
    by_hand = [(0.5 ** (ages[shop.rows[trained] == row] / 10)).sum() for row in range(6)]
    assert halved.tolist() == pytest.approx(by_hand)


def test_personal_frequency_counts_baskets_and_breaks_ties_by_popularity(shop):
    score = built("personal_frequency", shop)
    own = score(0, past((1, 1), (1, 1), (2, 1), (2, 2)))  # the first line of item 1 is doubled
    counts = np.bincount(shop.rows[shop.fold == 0], minlength=6)
    assert np.floor(own).tolist() == [0, 1, 2, 0, 0, 0]
    rest = np.array([0, 3, 4, 5])
    assert np.argsort(-own[rest]).tolist() == np.argsort(-counts[rest]).tolist()


def test_ease_solves_its_constrained_least_squares(shop):
    """EASE's rows minimise |X - XB|^2 + l2 |B|^2 with a zero diagonal: the gradient vanishes."""
    score = built("ease", shop, l2=5.0)
    table = user_item_table(shop).toarray().astype(float)
    weights = np.stack([score(0, past((row, 0))) for row in range(6)]).astype(float)
    assert np.diag(weights).tolist() == [0] * 6
    gradient = table.T @ (table @ weights - table) + 5.0 * weights
    off = ~np.eye(6, dtype=bool)
    assert np.abs(gradient[off]).max() < 1e-3


def test_item_knn_is_the_cosine_of_user_sets(shop):
    table = user_item_table(shop).toarray()
    score = built("item_knn", shop)
    both = (table[:, 0] * table[:, 1]).sum()
    expected = both / np.sqrt(table[:, 0].sum() * table[:, 1].sum())
    assert score(0, past((0, 0)))[1] == pytest.approx(expected)
    assert score(0, past((0, 0), (0, 1)))[1] == pytest.approx(2 * expected)
    faded = built("item_knn", shop, decay=0.5)
    assert faded(0, past((0, 0), (0, 1)))[1] == pytest.approx(1.5 * expected)


def user_vector(history, n_items, group=7, within=0.9, between=0.7):
    return vectors(baskets_of([history]), 1, n_items, group, within, between).toarray()[0]


def test_tifu_vector_by_hand():
    """Three baskets in groups of two, the older group of one; r_b = .5, r_g = .1."""
    found = user_vector(past((0, 1), (1, 2), (2, 3), (0, 3)), 4, group=2, within=0.5, between=0.1)
    latest, before, oldest = 1 / 2 / 2, 0.5 / 2 / 2, 0.1 / 1 / 2
    assert found.tolist() == pytest.approx([latest + oldest, before, latest, 0])


def test_tifu_leaves_the_asker_out_of_the_neighbours(shop):
    own, other = shop.history(1, 8), shop.history(3, 8)
    few = {"neighbours": 1, "own_share": 0.0}
    mine = [user_vector(history, 6) for history in (own, other)]
    assert not np.allclose(built("tifu_knn", shop, **few)(1, own), mine[0])
    few["own_share"] = 1.0
    assert built("tifu_knn", shop, **few)(1, own) == pytest.approx(mine[0])


def test_tifu_mixes_in_the_mean_of_all_others(shop):
    trained = np.bincount(shop.event_users[shop.fold == 0], minlength=shop.n_users)
    own = shop.history(1, 8)
    others = [
        user_vector(shop.history(user, int(end)), 6)
        for user, end in enumerate(trained)
        if user != 1
    ]
    found = built("tifu_knn", shop, neighbours=0, own_share=0.7)(1, own)
    assert found == pytest.approx(0.7 * user_vector(own, 6) + 0.3 * np.mean(others, axis=0))


def test_baskets_are_distinct_rows_of_one_moment():
    found = baskets_of([past((3, 1), (1, 1), (3, 1), (3, 2)), past(), past((3, 2))])
    lines = zip(found.owners, found.rows, found.ages, found.sizes, strict=True)
    assert [tuple(map(int, line)) for line in lines] == [
        (0, 1, 1, 2),
        (0, 3, 1, 2),
        (0, 3, 0, 2),
        (2, 3, 0, 1),
    ]
    assert not len(baskets_of([past()]).rows)


@pytest.mark.parametrize("window", [1, 3, 0])
def test_transitions_count_later_events_by_their_distance(shop, window, monkeypatch):
    monkeypatch.setattr(counts, "_AT_ONCE", 100)
    expected = np.zeros((6, 6))
    for user in range(shop.n_users):
        start, stop = shop.offsets[user], shop.offsets[user + 1]
        rows = shop.rows[start:stop][shop.fold[start:stop] == 0]
        for at in range(len(rows)):
            for gap in range(1, min(window or at, at) + 1):
                expected[rows[at - gap], rows[at]] += 1 / gap
    assert counts.transition_counts(shop, window).toarray() == pytest.approx(expected, rel=1e-5)


def test_slist_mixes_next_items_and_whole_histories(shop):
    """Least squares over both kinds of rows, each weighted by the root of its share."""
    share, decay, l2 = 0.3, 0.5, 2.0
    past_rows, following = [], []
    for user in range(shop.n_users):
        start, stop = shop.offsets[user], shop.offsets[user + 1]
        rows = shop.rows[start:stop][shop.fold[start:stop] == 0]
        seen: list[int] = []
        for row in rows:
            if seen:
                line = np.zeros(6)
                for age, r in enumerate(reversed(seen[-6:])):
                    line += decay**age * np.eye(6)[r]
                past_rows.append(line)
                following.append(np.eye(6)[row])
            seen.append(row)
    table = user_item_table(shop).toarray()
    sides = (1 - share) ** 0.5, share**0.5, l2**0.5
    left = np.vstack([sides[0] * np.array(past_rows), sides[1] * table, sides[2] * np.eye(6)])
    right = np.vstack([sides[0] * np.array(following), sides[1] * table, np.zeros((6, 6))])
    expected = np.linalg.lstsq(left, right, rcond=None)[0]
    score = built("slist", shop, share=share, decay=decay, l2=l2)
    found = np.stack([score(0, past((row, 0))) for row in range(6)])
    assert found == pytest.approx(expected, abs=1e-4)
    both = score(0, past((0, 0), (1, 1)))
    assert both == pytest.approx(decay * expected[0] + expected[1], abs=1e-4)


def test_hybrid_adds_its_parts_each_divided_by_its_largest_score(shop):
    asked = past((0, 0), (1, 1))
    ease, tifu = (built(name, shop)(0, asked) for name in ("ease", "tifu_knn"))
    popular = np.log1p(shop.popularity(30.0))
    found = built("ease_tifu_popularity", shop, habit=2.0, popular=0.5)(0, asked)
    by_hand = ease / np.abs(ease).max() + 2 * tifu / tifu.max() + 0.5 * popular / popular.max()
    assert found == pytest.approx(by_hand, rel=1e-5)
    found = built("ease_popularity", shop, popular=0.5)(0, asked)
    assert found == pytest.approx(
        ease / np.abs(ease).max() + 0.5 * popular / popular.max(), rel=1e-5
    )


def test_parameters_are_chosen_on_validation_cases_only(shop):
    """Of two constant rankings the one that fits the validation items wins, whatever the test."""
    valid = [held_out_cases(shop, VALID, "all")]
    best = np.bincount(valid[0].targets, minlength=6).astype(np.float32)

    def constant(_data):
        return lambda sign: lambda asked: np.tile(sign * best, (len(asked), 1))

    ladder = Ladder(rungs=(-1.0, 1.0), start=-1.0, open_high=True)
    baseline = Baseline(fit=constant, ladders={"sign": ladder})
    (found,) = tuning.tune(shop, {"constant": baseline}, valid, refit=True)
    assert isinstance(found, TunedBaseline)
    assert found.parameters == {"sign": 1.0}
    assert found.at_edge == ("sign",)
    assert [p for p, _ in found.tried] == [{"sign": -1.0}, {"sign": 1.0}]
    assert found.tried[0][1] < found.tried[1][1]
    pairs = held_out_cases(shop, TEST, "all").pairs[:2]
    assert found.score(pairs).tolist() == [best.tolist()] * 2


@pytest.fixture(scope="module")
def planted(shop):
    """The shop, but shoppers of a, b, c get a new item at the start of their validation basket."""
    rows = shop.rows.copy()
    for user in range(1, shop.n_users, 2):
        start, stop = shop.offsets[user], shop.offsets[user + 1]
        rows[start + np.flatnonzero(shop.fold[start:stop] == VALID)[0]] = 6
    items = dataclasses.replace(
        shop.items,
        ids=[*shop.items.ids, "g"],
        titles=[*shop.items.titles, "g"],
        categories=[*shop.items.categories, ()],
        price=np.append(shop.items.price, np.float32(-1)),
        year=np.append(shop.items.year, np.float32(-1)),
    )
    return dataclasses.replace(shop, items=items, rows=rows)


@pytest.mark.parametrize("name", BASELINES)
def test_validation_events_are_counted_for_the_test_and_not_for_validation(planted, name):
    """The planted item is in validation baskets only; nobody asked about has it in the history."""
    if BASELINES[name].needs:
        pytest.importorskip(BASELINES[name].needs)
    first = {
        key: dataclasses.replace(
            baseline,
            ladders={
                p: Ladder(rungs=(v,), start=v)
                for p, v in (start(baseline) | FEW.get(key, {})).items()
            },
        )
        for key, baseline in BASELINES.items()
        if key == name or key in BASELINES[name].parts
    }
    cases = held_out_cases(planted, VALID, "all")
    asked = [pair for pair in cases.pairs if pair[0] % 2]
    scores = {}
    for refit in (False, True):
        *_, found = tuning.tune(planted, first, [cases], refit=refit)
        assert isinstance(found, TunedBaseline)
        assert found.fitted_on == ("train+valid" if refit else "train")
        scores[refit] = found.score(asked)
    test_rows = {planted.rows[planted.fold == TEST].max()}
    assert 6 not in test_rows
    assert scores[False][:, 6].max() <= 1e-3
    assert scores[True][:, 6].min() > max(1e-3, scores[False][:, 6].max())


def test_popularity_halves_by_age_before_the_last_event_counted(shop):
    both = shop.with_validation()
    assert (both.fold == VALID).sum() == 0
    assert ((both.fold == TEST) == (shop.fold == TEST)).all()
    counted = shop.fold != TEST
    ages = (shop.ts[counted].max() - shop.ts[counted]) / DAY
    by_hand = np.bincount(shop.rows[counted], 0.5 ** (ages / 10), 6)
    found = built("popularity", both, half_life_days=10.0)(0, past())
    assert found == pytest.approx(by_hand, rel=1e-5)


def test_hybrid_uses_the_parameters_chosen_for_its_parts(shop):
    """A part's own search scores the validation cases; the hybrid's search uses those scores."""
    calls = []

    def part(_data):
        def build(sign):
            def score(asked):
                calls.append(sign)
                return np.tile(sign * best, (len(asked), 1))

            return score

        return build

    def twice(_data, scorer):
        return lambda times: lambda asked: times * scorer(asked)

    valid = [held_out_cases(shop, VALID, "all")]
    best = np.bincount(valid[0].targets, minlength=6).astype(np.float32)
    methods = {
        "part": Baseline(fit=part, ladders={"sign": Ladder(rungs=(-1.0, 1.0), start=-1.0)}),
        "twice": Baseline(
            fit=twice, parts=("part",), ladders={"times": Ladder(rungs=(1.0, 2.0, 3.0), start=1.0)}
        ),
    }
    one, two = tuning.tune(shop, methods, valid, refit=True)
    assert isinstance(one, TunedBaseline) and isinstance(two, TunedBaseline)
    assert one.parameters == {"sign": 1.0}
    assert calls == [-1.0, 1.0]
    assert two.score(valid[0].pairs[:1]).tolist() == [best.tolist()]


@pytest.mark.parametrize(("n_items", "tried"), [(1_000, 25), (10_000, 8)])
def test_large_catalogues_get_fewer_tries_of_slow_methods(n_items, tried):
    assert tuning.budget(BASELINES["als"], n_items) == tried
    assert tuning.budget(BASELINES["slist"], n_items) == BASELINES["slist"].budget


def test_popular_items_keep_their_events_users_and_folds(shop):
    small = shop.of_popular(3)
    counts = np.bincount(shop.rows[shop.fold == TRAIN], minlength=len(shop.items))
    best = {shop.items.ids[row] for row in np.argsort(-counts, kind="stable")[:3]}
    assert set(small.items.ids) == best

    def events(data):
        ids = [data.items.ids[row] for row in data.rows]
        users = [data.user_ids[user] for user in data.event_users]
        return list(zip(users, ids, data.ts.tolist(), data.fold.tolist(), strict=True))

    assert events(small) == [event for event in events(shop) if event[1] in best]


def test_large_catalogue_tunes_a_cubic_method_on_popular_items_and_fits_all(shop, monkeypatch):
    monkeypatch.setattr(tuning, "EXACT_ITEMS", 5)
    monkeypatch.setattr(tuning, "TUNING_ITEMS", 4)
    sizes = []

    def fit(data):
        sizes.append(len(data.items))
        return lambda l2: BASELINES["popularity"].fit(data)()

    ladders = {"l2": Ladder(rungs=(1.0, 2.0), start=1.0)}
    valid = [held_out_cases(shop, VALID, "all")]
    methods = {"x": Baseline(fit=fit, ladders=ladders, cubic=True)}
    (tuned,) = tuning.tune(shop, methods, valid, refit=True)
    assert isinstance(tuned, TunedBaseline)
    assert (sizes, tuned.tuned_items) == ([4, 6], 4)
    assert tuned.score(valid[0].pairs).shape == (len(valid[0]), 6)


def test_method_that_cannot_run_says_why(shop):
    valid = [held_out_cases(shop, VALID, "new_to_user")]
    popular = BASELINES["popularity"].fit
    told = list(
        tuning.tune(
            shop,
            {
                "other": Baseline(fit=popular, needs="no_such_module"),
                "wide": Baseline(fit=popular, most_items=5),
                "own": Baseline(fit=popular, only_all=True),
                "mixed": Baseline(fit=popular, parts=("wide",)),
            },
            valid,
            refit=True,
        )
    )
    assert isinstance(told[0], str) and isinstance(told[1], str)
    assert "other left out: no_such_module is not installed" in told[0]
    assert "wide left out: 6 items" in told[1]
    assert told[2] == "mixed left out: its part wide is left out"
    assert len(told) == 3


def test_parameters_that_leave_a_system_singular_are_worse_than_any_other(shop):
    """More factors than items and hardly a penalty, as the ladder of ALS may try."""

    def fit(data):
        def build(regularization=0.0):
            if regularization < 1:
                raise np.linalg.LinAlgError("singular")
            return BASELINES["popularity"].fit(data)()

        return build

    ladders = {"regularization": Ladder(rungs=(0.0, 0.5, 1.0), start=0.5)}
    valid = [held_out_cases(shop, VALID, "new_to_user")]
    (tuned,) = tuning.tune(shop, {"x": Baseline(fit=fit, ladders=ladders)}, valid, refit=True)
    assert isinstance(tuned, TunedBaseline)
    assert tuned.parameters == {"regularization": 1.0}


def test_als_with_more_factors_than_items_says_what_numpy_says():
    pytest.importorskip("implicit", reason="needs the train extra")
    from pocketrec_training.baselines.als import _singular_told

    with pytest.raises(np.linalg.LinAlgError, match="posv"), _singular_told():
        raise ValueError("cython_lapack.posv failed (err=41) on row 0")


@pytest.fixture
def sparse_and_single(monkeypatch):
    """Solve as for a large catalogue of which few pairs meet."""
    monkeypatch.setattr(item_matrix, "EXACT_ITEMS", 0)
    monkeypatch.setattr(item_matrix, "SPARSE_SHARE", 1e9)
    monkeypatch.setattr(item_matrix, "_AT_ONCE", 50)


@pytest.mark.parametrize("name", ["item_knn", "ease", "slist"])
def test_a_large_sparse_catalogue_gives_the_same_scores(shop, name, sparse_and_single, monkeypatch):
    asked = past((0, 0), (1, 1))
    few = {"neighbours": 2} if name == "item_knn" else {}
    found = built(name, shop, **few)(0, asked)
    monkeypatch.undo()
    assert found == pytest.approx(built(name, shop, **few)(0, asked), rel=1e-3, abs=1e-4)


def test_the_inverse_in_single_precision_is_an_inverse(monkeypatch):
    monkeypatch.setattr(item_matrix, "EXACT_ITEMS", 0)
    monkeypatch.setattr(item_matrix, "_ROWS", 7)  # several blocks, the last one smaller
    rows = np.random.default_rng(0).random((40, 24)).astype(np.float32)
    found = item_matrix.inverse(rows.T @ rows, 1.0)
    assert found.dtype == np.float32
    assert found @ (rows.T @ rows + np.eye(24)) == pytest.approx(np.eye(24), abs=1e-3)
