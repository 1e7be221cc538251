"""The layouts of public data sets become right recipes without a change by hand."""

import json

import pytest

from pocketrec_training.data.ingest import build_tables
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.table_profile.profile import profile_files
from pocketrec_training.table_profile.recipe_text import questions, recipe_text
from pocketrec_training.table_profile.report import profile_json

EXPECTED = {
    "amazon_2014": {
        "user": "reviewerID",
        "item": "asin",
        "timestamp": "unixReviewTime",
        "value": "overall",
        "item_id": "asin",
        "title": "title",
        "price": "price",
        "categories": "categories",
    },
    "amazon_2023": {
        "user": "user_id",
        "item": "parent_asin",
        "timestamp": "timestamp",
        "value": "rating",
        "item_id": "parent_asin",
        "title": "title",
        "price": "price",
        "categories": "categories",
    },
    "amazon_ratings_only": {"user": "2", "item": "1", "timestamp": "4", "value": "3"},
    "mind": {
        "user": "2",
        "item": "5",
        "timestamp": "3",
        "item_id": "1",
        "title": "4",
        "categories": "2",
    },
    "yoochoose": {"user": "1", "item": "3", "timestamp": "2"},
    "lastfm": {
        "user": "userID",
        "item": "artistID",
        "value": "weight",
        "item_id": "id",
        "title": "name",
    },
    "steam_200k": {"user": "1", "item": "2", "event": "3", "value": "4"},
    "anime": {
        "user": "user_id",
        "item": "anime_id",
        "value": "rating",
        "item_id": "anime_id",
        "title": "name",
        "categories": "genre",
    },
    "book_crossing": {
        "user": "User-ID",
        "item": "ISBN",
        "value": "Book-Rating",
        "item_id": "ISBN",
        "title": "Book-Title",
        "year": "Year-Of-Publication",
    },
    "retailrocket": {
        "user": "visitorid",
        "item": "itemid",
        "timestamp": "timestamp",
        "event": "event",
    },
    "recbole": {
        "user": "user_id:token",
        "item": "item_id:token",
        "timestamp": "timestamp:float",
        "value": "rating:float",
        "item_id": "item_id:token",
        "title": "movie_title:token_seq",
        "year": "release_year:token",
        "categories": "class:token_seq",
    },
    "movielens_latest": {
        "user": "userId",
        "item": "movieId",
        "timestamp": "timestamp",
        "value": "rating",
        "item_id": "movieId",
        "title": "title",
        "categories": "genres",
    },
    "movielens_100k": {
        "user": "1",
        "item": "2",
        "timestamp": "4",
        "value": "3",
        "item_id": "1",
        "title": "2",
    },
    "movielens_1m": {
        "user": "1",
        "item": "2",
        "timestamp": "4",
        "value": "3",
        "item_id": "1",
        "title": "2",
        "categories": "3",
    },
    "online_retail": {
        "user": "CustomerID",
        "item": "StockCode",
        "timestamp": "InvoiceDate",
        "value": "Quantity",
        "item_id": "StockCode",
        "title": "Description",
        "price": "UnitPrice",
    },
}


def roles(profile):
    found = {role: choice.column for role, choice in profile.log.roles.items()}
    items = profile.log.item_roles or (profile.items.roles if profile.items else {})
    return found | {role: choice.column for role, choice in items.items()}


@pytest.fixture(scope="module", params=list(EXPECTED))
def found(request, write_layout, tmp_path_factory):
    """The layout's name and its profile."""
    files = write_layout(request.param, tmp_path_factory.mktemp(request.param))
    return request.param, profile_files(files)


def test_each_column_has_its_role_and_nothing_is_asked(found):
    name, profile = found
    assert roles(profile) == EXPECTED[name]
    assert questions(profile) == []


def test_all_times_are_read_and_all_items_are_found(found):
    _, profile = found
    assert profile.facts.unreadable_times == 0
    assert profile.facts.implausible_times == 0
    assert profile.item_join is None or profile.item_join.share == 1.0


def test_the_split_fits_the_times(found):
    name, profile = found
    no_time = {"lastfm", "steam_200k", "anime", "book_crossing"}
    tied = {"amazon_2014", "online_retail"}
    kind = profile.proposal.split.value
    if name in no_time:
        assert kind == "random"
    else:
        assert (kind == "leave_last") == (name not in tied)


def test_pocketrec_data_reads_the_files_with_the_recipe_as_written(found, tmp_path):
    name, profile = found
    (tmp_path / "recipe.toml").write_text(recipe_text(profile))
    report = build_tables(load_recipe(tmp_path / "recipe.toml"), tmp_path / "out")
    assert report.interactions == profile.facts.n
    # 40 rows without a customer and 29 returns; 3 rows are both.
    n_bad = 66 if name == "online_retail" else 0
    assert (report.users, report.quarantined) == (40, n_bad)
    assert profile.returns is None or profile.returns.n == 29
    times = (profile.facts.first_ts or 0, profile.facts.last_ts or 0)
    assert (report.first_ts, report.last_ts) == times


def test_what_was_found_is_json_for_programs(found):
    _, profile = found
    value = json.loads(json.dumps(profile_json(profile)))
    assert value["questions"] == {}
    assert value["files"][0]["holds"] == "interactions"
    assert all(len(each["samples"]) <= 3 for file in value["files"] for each in file["columns"])
