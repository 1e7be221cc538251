import numpy as np
import pytest

from pocketrec_training.data.dataset import TEST, TRAIN, VALID, load_dataset
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.metrics.cases import held_out_cases, some
from pocketrec_training.recipe.load import parse_recipe

# ann: three baskets, the last with a repeat; bob: one basket late; cy: two baskets.
LINES = """who,what,when
ann,a,100
ann,b,100
ann,c,200
ann,a,300
ann,d,300
bob,a,310
bob,b,310
cy,a,100
cy,d,250
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("baskets")
    (folder / "i.csv").write_text(LINES)

    def load(**split):
        value = {
            "name": "b",
            "data": {"interactions": "i.csv"},
            "columns": {"user": "who", "item": "what", "timestamp": "when", "timestamp_unit": "s"},
            "split": split,
        }
        recipe = parse_recipe(value, "b.toml")
        if not (folder / "data").exists():
            build_tables(recipe, folder / "data", folder)
        return load_dataset(recipe, folder / "data")

    return load


def names(data, cases):
    return {
        data.user_ids[user]: "".join(data.items.ids[row] for row in cases.targets_of(i))
        for i, (user, _) in enumerate(cases.pairs)
    }


def test_last_basket_is_held_out_whole(dataset):
    data = dataset(kind="last_basket", min_user_events=3)
    ann, bob = (data.user_ids.index(name) for name in ("ann", "bob"))
    folds = data.fold[data.offsets[ann] : data.offsets[ann + 1]]
    assert folds.tolist() == [TRAIN, TRAIN, VALID, TEST, TEST]
    assert (data.fold[data.offsets[bob] : data.offsets[bob + 1]] == TRAIN).all()
    assert names(data, held_out_cases(data, TEST, "all")) == {"ann": "ad"}
    assert names(data, held_out_cases(data, TEST, "new_to_user")) == {"ann": "d"}
    assert names(data, held_out_cases(data, VALID, "all")) == {"ann": "c"}


def test_no_basket_stands_on_both_sides_of_a_case(dataset):
    baskets = {"kind": "last_basket", "min_user_events": 3}
    period = {"kind": "global_time", "valid_share": 0.2, "test_share": 0.4}
    for split in (baskets, period):
        data = dataset(**split)
        for fold in (VALID, TEST):
            for user, end in held_out_cases(data, fold, "all").pairs:
                times = data.history(user).ts
                assert times[end - 1] < times[end]


def test_period_of_a_user_is_one_case_and_newcomers_are_asked_for(dataset):
    data = dataset(kind="global_time", valid_share=0.2, test_share=0.4)
    assert names(data, held_out_cases(data, TEST, "all")) == {"ann": "ad"}
    with_new = held_out_cases(data, TEST, "all", newcomers=True)
    assert names(data, with_new) == {"ann": "ad", "bob": "ab"}
    assert with_new.ends.tolist() == [3, 0]


def test_digest_changes_with_the_cases(dataset):
    one = dataset(kind="global_time", valid_share=0.2, test_share=0.4)
    cases = held_out_cases(one, TEST, "all", newcomers=True)
    assert cases.digest(one) == held_out_cases(one, TEST, "all", newcomers=True).digest(one)
    others = [
        held_out_cases(one, TEST, "all"),
        held_out_cases(one, TEST, "new_to_user", newcomers=True),
        some(cases, 1, 0),
    ]
    assert len({cases.digest(one), *(each.digest(one) for each in others)}) == 4


def test_some_keeps_whole_cases(dataset):
    data = dataset(kind="global_time", valid_share=0.2, test_share=0.4)
    cases = held_out_cases(data, TEST, "all", newcomers=True)
    found = names(data, cases)
    for seed in range(4):
        assert names(data, some(cases, 1, seed)).items() <= found.items()
    assert some(cases, 2, 0) is cases
    assert np.array_equal(cases.offsets, [0, 2, 4])
