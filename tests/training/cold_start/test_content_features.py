import numpy as np
import pytest

from pocketrec_training.cold_start.content_features import ContentFeatures, letter_groups
from pocketrec_training.data.dataset import Items


def items(titles, categories=None, years=None):
    n = len(titles)
    return Items(
        ids=[f"i{row}" for row in range(n)],
        titles=titles,
        categories=categories or [()] * n,
        price=np.full(n, -1, np.float32),
        year=np.array(years or [-1] * n, np.float32),
    )


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
