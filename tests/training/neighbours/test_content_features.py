from dataclasses import replace

import numpy as np
import pytest

from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_training.data.dataset import Items
from pocketrec_training.neighbours.content_features import ContentFeatures, letter_groups


def items(titles, categories=None, years=None):
    n = len(titles)
    return Items(
        ids=[f"i{row}" for row in range(n)],
        titles=titles,
        categories=categories or [()] * n,
        price=np.full(n, -1, np.float32),
        year=np.array(years or [-1] * n, np.float32),
    )


DECLARED = FittedFeatures(
    items=(
        FittedFeature(name="about", feature=Feature(kind="text", hash_buckets=8)),
        FittedFeature(name="brand", feature=Feature(kind="category")),
        FittedFeature(name="image", feature=Feature(kind="vector", length=2)),
        FittedFeature(name="stock", feature=Feature(kind="number")),
        FittedFeature(name="tags", feature=Feature(kind="categories")),
    )
)


def declared(about, brand, image, tags):
    values = {
        "about": np.array(about, object),
        "brand": np.array(brand, object),
        "image": np.array(image, np.float32),
        "stock": np.arange(len(brand), dtype=np.float32),
        "tags": np.array(tags, object),
    }
    return replace(items([f"i{row}" for row in range(len(brand))]), features=values)


def cosines(features, some, others):
    return (features(some) @ features(others).T).toarray()


def test_letter_groups_of_a_short_word_by_hand():
    expected = [" a", "a ", " a ", " m", "mu", "ug", "g ", " mu", "mug", "ug ", " mug", "mug "]
    assert list(letter_groups("A Mug")) == expected


def test_words_of_one_stem_are_nearer_than_different_words():
    known = items(["garden kneeler", "glass lantern", "paper chain"])
    near = cosines(ContentFeatures(known), items(["gardeners kneeling pad"]), known)[0]
    assert near[0] > 0.3 > 2 * max(near[1:])


def test_each_kind_of_content_has_length_one():
    known = items(["one", "two"], [("War", "Love"), ("Love",)], [2012, 2013])
    rows = ContentFeatures(known)(known)
    # Letters, categories, year, pairs of category and year: four blocks.
    np.testing.assert_allclose(np.asarray(rows.multiply(rows).sum(1)).ravel(), 4.0, rtol=1e-5)


def test_a_rare_category_weighs_more():
    known = items(["one"] * 9, [("Drama",)] * 8 + [("Drama", "Western")])
    features = ContentFeatures(known)
    drama, western = cosines(features, items(["?"] * 2, [("Drama",), ("Western",)]), known)[:, 8]
    assert western > drama > 0


def test_same_category_of_the_same_year_is_nearest():
    known = items(["x"] * 3, [("War",), ("War",), ("Love",)], [2013, 1990, 2013])
    near = cosines(ContentFeatures(known), items(["?"], [("War",)], [2013]), known)[0]
    assert near[0] == pytest.approx(3.0, rel=1e-5)  # category, year and the pair
    assert near[1] == pytest.approx(1.0, rel=1e-5)
    assert near[2] == pytest.approx(1.0, rel=1e-5)


def test_what_training_never_had_adds_nothing():
    features = ContentFeatures(items(["mug", "jar"]))
    assert features(items(["zzz"], [("War",)], [2013])).nnz == 0


def test_an_id_in_place_of_a_title_is_no_content():
    known = items(["i0", "i1"])
    assert ContentFeatures(known)(known).nnz == 0
    assert ContentFeatures(known)(known).shape[0] == 2


NAN = np.nan
KNOWN = declared(
    ["garden kneeler", "paper chain", ""],
    ["Acme", "Bolt", ""],
    [[3, 0], [1, 0], [NAN, NAN]],  # mean (2, 0): along x, one each way
    ["a|b", "b", ""],
)


def test_declared_texts_names_and_vectors_are_blocks_and_numbers_are_none():
    rows = ContentFeatures(KNOWN, DECLARED)(KNOWN)
    lengths = np.asarray(rows.multiply(rows).sum(1)).ravel()
    np.testing.assert_allclose(lengths, [4, 4, 0], rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "nearest"),
    [
        ({"about": ["gardeners"]}, 0),
        ({"about": ["papers"]}, 1),
        ({"brand": ["Bolt"]}, 1),
        ({"image": [[1.9, 0]]}, 1),
        ({"image": [[2.1, 0]]}, 0),
        ({"tags": ["a"]}, 0),
    ],
)
def test_each_declared_feature_finds_the_item_like_it(values, nearest):
    blank = {"about": [""], "brand": [""], "image": [[NAN, NAN]], "tags": [""]}
    near = cosines(ContentFeatures(KNOWN, DECLARED), declared(**blank | values), KNOWN)[0]
    assert near[nearest] > max(0.1, *np.delete(near, nearest))


def test_new_items_have_the_rows_that_known_ones_have_and_unknown_features_add_nothing():
    features = ContentFeatures(KNOWN, DECLARED)
    again = features(KNOWN.pick([1]))
    assert (again != features(KNOWN)[1]).nnz == 0
    assert features(replace(KNOWN, features={})).nnz == 0
