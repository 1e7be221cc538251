from zlib import crc32

import numpy as np

from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.data.dataset import Items
from pocketrec_training.towers.item_content import (
    MAX_TITLE_TOKENS,
    MAX_TITLE_WORDS,
    item_inputs,
    year_codes,
)
from pocketrec_training.towers.word_codes import padded_codes, word_codes

BUCKETS = 1 << 20  # so many that no two of these few words meet


def spec() -> FeatureSpec:
    return FeatureSpec(
        dim=4,
        max_history=3,
        event_types=("buy",),
        categories=("a", "b"),
        max_categories=2,
        heads=("engage",),
        head_weights=(1.0,),
        candidates=5,
    )


def code(token: str) -> int:
    return crc32(token.encode()) % BUCKETS + 1


def codes(title: str, buckets: int = BUCKETS) -> list[int]:
    return word_codes(title, buckets, MAX_TITLE_WORDS)


def test_title_gives_words_and_pairs_without_case_punctuation_and_stop_words():
    wanted = ["toy", "story", "1995", "toy story", "story 1995"]
    assert codes("The Toy-Story, (1995)") == [code(token) for token in wanted]
    assert codes("of the") == []


def test_titles_in_other_scripts_have_words_too():
    assert codes("Амели\u0301")
    assert codes("千と千尋") == [code("千と千尋")]


def test_codes_stay_within_the_buckets():
    found = codes(" ".join(f"w{n}" for n in range(50)), 7)
    assert len(found) == MAX_TITLE_TOKENS
    assert min(found) >= 1
    assert max(found) <= 7


def test_texts_are_cut_to_their_first_words_and_padded():
    rows = padded_codes(["one two three", "one", ""], BUCKETS, 2)
    first = [code("one"), code("two"), code("one two")]
    assert rows.tolist() == [first, [code("one"), 0, 0], [0, 0, 0]]


def test_a_year_shares_its_bucket_with_its_neighbours_only():
    codes = year_codes(np.array([1996, 1999, 2000, -1, 1850, 2500], np.float32))
    assert len(set(codes[:3, 0].tolist())) == 3
    assert codes[0, 1] == codes[1, 1] != codes[2, 1]
    assert codes[3].tolist() == [0, 0]
    assert codes[4].tolist() == [1, 1]
    assert codes[5].tolist() == [200, 50]


def test_a_title_that_repeats_the_id_is_no_content():
    items = Items(
        ids=["sku-1", "sku-2"],
        titles=["sku-1", "Red mug"],
        categories=[("b",), ()],
        price=np.array([-1, 2], np.float32),
        year=np.array([-1, -1], np.float32),
    )
    found = item_inputs(spec(), items, BUCKETS)
    assert found["ids"].tolist() == [1, 2]
    assert not found["tokens"][0].any()
    assert found["tokens"][1, :3].tolist() == [code("red"), code("mug"), code("red mug")]
    assert found["categories"].tolist() == [[2, 0], [0, 0]]
    assert item_inputs(spec(), items, BUCKETS, known=False)["ids"].tolist() == [0, 0]
