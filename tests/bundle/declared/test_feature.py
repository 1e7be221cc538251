import pytest

from pocketrec_bundle.declared import Feature, problems
from pocketrec_bundle.declared.feature import MAX_FEATURES

GOOD = {
    "brand": Feature(kind="category", vocabulary=10, hash_buckets=4),
    "tags": Feature(kind="categories", most=3),
    "stock": Feature(kind="number", log=True, clip=(0, 100), missing=-1),
    "is_new": Feature(kind="flag", missing=0),
    "image": Feature(kind="vector", length=384),
    "about": Feature(kind="text", hash_buckets=4096),
}


def test_good_features_have_no_problem():
    assert list(problems(GOOD)) == []


@pytest.mark.parametrize(
    ("name", "feature", "key", "told"),
    [
        ("Brand", Feature(kind="category"), "Brand", "begins with a letter"),
        ("a" * 41, Feature(kind="flag"), "a" * 41, "1 to 40"),
        ("price", Feature(kind="number"), "price", "built-in"),
        ("popularity_9_days", Feature(kind="number"), "popularity_9_days", "built-in"),
        ("x", Feature(kind="vector"), "x.length", "1..4096"),
        ("x", Feature(kind="vector", length=4097), "x.length", "1..4096"),
        ("x", Feature(kind="text"), "x.hash_buckets", "1..65534"),
        (
            "x",
            Feature(kind="text", hash_buckets=9, vocabulary=5),
            "x.vocabulary",
            'a "text" has no',
        ),
        ("x", Feature(kind="number", length=3), "x.length", 'a "number" has no length'),
        ("x", Feature(kind="flag", log=True), "x.log", "no log"),
        ("x", Feature(kind="category", most=2), "x.most", "only categories"),
        ("x", Feature(kind="category", vocabulary=0), "x.vocabulary", "no name a code"),
        ("x", Feature(kind="category", vocabulary=-1), "x.vocabulary", "0..65534"),
        ("x", Feature(kind="category", hash_buckets=65_000), "x.hash_buckets", "exceed 65534"),
        ("x", Feature(kind="number", buckets=0), "x.buckets", "1..256"),
        ("x", Feature(kind="number", clip=(3, 3)), "x.clip", "smaller first"),
        ("x", Feature(kind="number", clip=(0, float("inf"))), "x.clip", "finite"),
        ("x", Feature(kind="number", clip=(-1, 3), log=True), "x.clip", "at least 0"),
        ("x", Feature(kind="number", missing=float("nan")), "x.missing", "finite"),
        ("x", Feature(kind="flag", missing=0.5), "x.missing", "0 or 1"),
    ],
)
def test_each_problem_is_named_by_its_key(name, feature, key, told):
    found = list(problems({name: feature}))
    assert [each for each, _ in found] == [key]
    assert told in found[0][1]


def test_a_table_has_a_limited_number_of_features():
    table = {f"f{n}": Feature(kind="flag") for n in range(MAX_FEATURES + 1)}
    assert [key for key, _ in problems(table)] == [""]
