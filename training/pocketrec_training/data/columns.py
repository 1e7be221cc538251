"""Column names of the canonical tables, spelt once; `pocketrec data` writes, training reads."""

USER_ID = "user_id"
ITEM_ID = "item_id"
EVENT = "event"
VALUE = "value"
TS = "ts"
TITLE = "title"
CATEGORIES = "categories"
PRICE = "price"
YEAR = "year"
REGIONS = "regions"
AGE_RATING = "age_rating"
REASON = "reason"
FOLD = "fold"
"""Of interactions, only if the recipe's split is given: 0 train, 1 validation, 2 test."""

INTERACTIONS = (USER_ID, ITEM_ID, EVENT, VALUE, TS)
AUDIENCE = (REGIONS, AGE_RATING)
"""Of items, and what a recipe calls them too; tables from before them lack both."""
ITEMS = (ITEM_ID, TITLE, CATEGORIES, PRICE, YEAR, *AUDIENCE)
FEATURE = "feature_"
"""Prefix of a declared feature's column in the table of items, and of its input in models."""

INTERACTIONS_FILE = "interactions.parquet"
ITEMS_FILE = "items.parquet"
QUARANTINE_FILE = "quarantine.jsonl"
REPORT_FILE = "data_report.json"
USERS_FILE = "users.parquet"
"""Ids of the table of users, if there is one."""
INGESTED_FILE = "ingested.json"
