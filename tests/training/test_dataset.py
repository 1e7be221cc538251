import numpy as np
import pytest

pytest.importorskip("duckdb", reason="needs the train extra")

from training.dataset import Items, feature_spec
from training.errors import RecipeInvalid
from training.recipe import parse_recipe


@pytest.mark.parametrize(
    ("section", "key", "most"),
    [("retrieval", "dim", 1024), ("ranker", "candidates", 8192), ("ranker", "recent", 256)],
)
def test_what_no_device_would_take_is_refused_before_training(section, key, most):
    unknown = np.full(3, -1, np.float32)
    items = Items(
        ids=["a", "b", "c"],
        titles=["A", "B", "C"],
        categories=[("x",), (), ("y", "x")],
        price=unknown,
        year=unknown,
    )

    def spec(value):
        given = {"name": "big", "data": {"dataset": "d"}, section: {key: value}}
        return feature_spec(parse_recipe(given, "big.toml"), items)

    assert getattr(spec(most), key) == most
    with pytest.raises(RecipeInvalid, match=f"{key} must be an integer"):
        spec(2 * most)
