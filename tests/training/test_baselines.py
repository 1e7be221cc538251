import numpy as np
import pytest

from bundle.features import History
from training.baselines import BASELINES, Baseline, tuning
from training.baselines.scorer import baskets, user_item_table
from training.baselines.tifu_knn import user_vector
from training.cases import held_out_cases
from training.dataset import TEST, VALID, load_dataset
from training.recipe import parse_recipe
from training.tables import build_tables

DAY = 86_400


def past(*pairs):
    """A history of (item row, day)."""
    rows, days = zip(*pairs, strict=True) if pairs else ((), ())
    ts = np.array(days, np.int64) * DAY
    return History(np.array(rows, np.int32), np.zeros(len(rows), np.int32), ts)


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
        "columns": {"user": "who", "item": "what", "timestamp": "when"},
        "split": {"kind": "last_basket"},
    }
    recipe = parse_recipe(value, "s.toml")
    build_tables(recipe, folder / "data", folder)
    return load_dataset(recipe, folder / "data")


PERSONAL = [name for name in BASELINES if name not in ("popularity", "personal_frequency")]


@pytest.mark.parametrize("name", PERSONAL)
def test_method_prefers_what_goes_with_the_history(shop, name):
    if BASELINES[name].needs:
        pytest.importorskip(BASELINES[name].needs)
    few = {"neighbours": 10} if name == "tifu_knn" else BASELINES[name].grid[0]
    score = BASELINES[name].build(shop, **few)
    a, b, c, d, e, f = range(6)
    own = score(1, past((a, 0), (b, 0)))
    assert own[c] > max(own[d], own[e], own[f])
    other = score(0, past((d, 0), (e, 0)))
    assert other[f] > max(other[a], other[b], other[c])


@pytest.mark.parametrize("name", BASELINES)
def test_every_method_answers_an_empty_history_with_finite_scores(shop, name):
    if BASELINES[name].needs:
        pytest.importorskip(BASELINES[name].needs)
    found = BASELINES[name].build(shop, **BASELINES[name].grid[-1])(0, History.empty())
    assert found.shape == (6,)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_popularity_counts_training_events_and_halves_old_ones(shop):
    counts = np.bincount(shop.rows[shop.fold == 0], minlength=6)
    assert BASELINES["popularity"].build(shop)(0, past()).tolist() == counts.tolist()
    halved = BASELINES["popularity"].build(shop, half_life_days=10.0)(0, past())
    trained = shop.fold == 0
    ages = (shop.ts[trained].max() - shop.ts[trained]) / DAY
    by_hand = [(0.5 ** (ages[shop.rows[trained] == row] / 10)).sum() for row in range(6)]
    assert halved.tolist() == pytest.approx(by_hand)


def test_personal_frequency_counts_baskets_and_breaks_ties_by_popularity(shop):
    score = BASELINES["personal_frequency"].build(shop)
    own = score(0, past((1, 1), (1, 1), (2, 1), (2, 2)))  # the first line of item 1 is doubled
    counts = np.bincount(shop.rows[shop.fold == 0], minlength=6)
    assert np.floor(own).tolist() == [0, 1, 2, 0, 0, 0]
    rest = np.array([0, 3, 4, 5])
    assert np.argsort(-own[rest]).tolist() == np.argsort(-counts[rest]).tolist()


def test_ease_solves_its_constrained_least_squares(shop):
    """EASE's rows minimise |X - XB|^2 + l2 |B|^2 with a zero diagonal: the gradient vanishes."""
    score = BASELINES["ease"].build(shop, l2=5.0)
    table = user_item_table(shop).toarray().astype(float)
    weights = np.stack([score(0, past((row, 0))) for row in range(6)]).astype(float)
    assert np.diag(weights).tolist() == [0] * 6
    gradient = table.T @ (table @ weights - table) + 5.0 * weights
    off = ~np.eye(6, dtype=bool)
    assert np.abs(gradient[off]).max() < 1e-3


def test_item_knn_is_the_cosine_of_user_sets(shop):
    table = user_item_table(shop).toarray()
    score = BASELINES["item_knn"].build(shop)
    both = (table[:, 0] * table[:, 1]).sum()
    expected = both / np.sqrt(table[:, 0].sum() * table[:, 1].sum())
    assert score(0, past((0, 0)))[1] == pytest.approx(expected)
    assert score(0, past((0, 0), (0, 1)))[1] == pytest.approx(2 * expected)
    faded = BASELINES["item_knn"].build(shop, decay=0.5)
    assert faded(0, past((0, 0), (0, 1)))[1] == pytest.approx(1.5 * expected)


def test_tifu_vector_by_hand():
    """Three baskets in groups of two, the older group of one; r_b = .5, r_g = .1."""
    found = user_vector(past((0, 1), (1, 2), (2, 3), (0, 3)), 4, group=2, within=0.5, between=0.1)
    latest, before, oldest = 1 / 2 / 2, 0.5 / 2 / 2, 0.1 / 1 / 2
    assert found.tolist() == pytest.approx([latest + oldest, before, latest, 0])


def test_tifu_leaves_the_asker_out_of_the_neighbours(shop):
    own, other = shop.history(1, 8), shop.history(3, 8)
    alone = BASELINES["tifu_knn"].build(shop, neighbours=1, own_share=0.0)
    vectors = [user_vector(h, 6, group=7, within=0.9, between=0.7) for h in (own, other)]
    assert not np.allclose(alone(1, own), vectors[0])
    assert BASELINES["tifu_knn"].build(shop, neighbours=1, own_share=1.0)(1, own) == pytest.approx(
        vectors[0]
    )


def test_baskets_are_distinct_rows_of_one_moment():
    found = baskets(past((3, 1), (1, 1), (3, 1), (3, 2)))
    assert [basket.tolist() for basket in found] == [[1, 3], [3]]
    assert baskets(past()) == []


def test_parameters_are_chosen_on_validation_cases_only(shop):
    """Of two constant rankings the one that fits the validation items wins, whatever the test."""
    valid = [held_out_cases(shop, VALID, "all")]
    best = np.bincount(valid[0].targets, minlength=6).astype(np.float32)

    def constant(_data, sign):
        return lambda _user, _past: sign * best

    baseline = Baseline(build=constant, grid=({"sign": -1.0}, {"sign": 1.0}))
    (found,) = tuning.tune(shop, {"constant": baseline}, valid)
    assert found.parameters == {"sign": 1.0}
    assert [p for p, _ in found.tried] == [{"sign": -1.0}, {"sign": 1.0}]
    assert found.tried[0][1] < found.tried[1][1]
    pairs = held_out_cases(shop, TEST, "all").pairs[:2]
    assert found.score(pairs).tolist() == [best.tolist()] * 2


def test_method_that_cannot_run_says_why(shop):
    valid = [held_out_cases(shop, VALID, "new_to_user")]
    popular = BASELINES["popularity"].build
    told = list(
        tuning.tune(
            shop,
            {
                "other": Baseline(build=popular, needs="no_such_module"),
                "wide": Baseline(build=popular, most_items=5),
                "own": Baseline(build=popular, only_all=True),
            },
            valid,
        )
    )
    assert "other left out: no_such_module is not installed" in told[0]
    assert "wide left out: 6 items" in told[1]
    assert len(told) == 2
