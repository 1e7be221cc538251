"""Known data sets: where they come from, under what licence, and how they become plain tables."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

_RECBOLE_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDataset:
    """A public data set.

    files: what a local folder must hold; archive: members of the same ending are taken from it;
    sha256: of the archive, empty where the publisher changes the file.
    """

    title: str
    licence: str
    url: str
    size_mb: float
    files: tuple[str, ...]
    sha256: str
    convert: Callable[[Path, Path], None]


def _copy(query: str, target: Path, *files: Path) -> None:
    """Run a query over files (its `?` marks) and write the result as Parquet."""
    with duckdb.connect() as connection:
        relation = connection.sql(query, params=[str(file) for file in files])
        relation.write_parquet(str(target))


def _movielens_100k(raw: Path, plain: Path) -> None:
    read = "read_csv(?, delim='\t', header=true, all_varchar=true, quote='')"
    _copy(
        'SELECT "user_id:token" user_id, "item_id:token" item_id, "rating:float" rating, '
        f'"timestamp:float" "timestamp" FROM {read}',
        plain / "interactions.parquet",
        raw / "ml-100k.inter",
    )
    # Some films have no known year: another word stands in its place.
    _copy(
        'SELECT "item_id:token" item_id, "movie_title:token_seq" movie_title, '
        "regexp_extract(\"release_year:token\", '^[0-9]{4}$') release_year, "
        '"class:token_seq" "class" '
        f"FROM {read}",
        plain / "items.parquet",
        raw / "ml-100k.item",
    )


def _movielens_1m_sequences(raw: Path, plain: Path) -> None:
    # One user a line, items in time order: the position stands for the time.
    _copy(
        "WITH lines AS (SELECT row_number() OVER () AS user_id, string_split(line, ' ') AS items "
        "FROM read_csv(?, columns={'line': 'VARCHAR'}, delim='\t', header=false)), "
        "events AS (SELECT user_id, unnest(items) AS item_id, "
        'unnest(range(1, len(items) + 1)) AS "timestamp" FROM lines) '
        "SELECT * FROM events WHERE item_id <> ''",
        plain / "interactions.parquet",
        raw / "sequences.txt",
    )


def _movielens_csv(raw: Path, plain: Path) -> None:
    _copy(
        'SELECT userId user_id, movieId item_id, rating, "timestamp" FROM read_csv(?)',
        plain / "interactions.parquet",
        raw / "ratings.csv",
    )
    _copy(
        "SELECT movieId item_id, title, replace(genres, '(no genres listed)', '') genres, "
        "regexp_extract(title, '\\((\\d{4})\\)\\s*$', 1) \"year\" FROM read_csv(?)",
        plain / "items.parquet",
        raw / "movies.csv",
    )


def _double_colon(ratings: str, movies: str) -> Callable[[Path, Path], None]:
    def convert(raw: Path, plain: Path) -> None:
        read = "read_csv(?, columns={'line': 'VARCHAR'}, delim='\t', quote='', header=false)"
        part = "string_split(line, '::')"
        _copy(
            f"SELECT {part}[1] user_id, {part}[2] item_id, {part}[3] rating, "
            f'{part}[4] "timestamp" FROM {read}',
            plain / "interactions.parquet",
            raw / ratings,
        )
        _copy(
            f"SELECT {part}[1] item_id, {part}[2] title, {part}[3] genres, "
            f"regexp_extract({part}[2], '\\((\\d{{4}})\\)\\s*$', 1) \"year\" FROM {read}",
            plain / "items.parquet",
            raw / movies,
        )

    return convert


def _online_retail(raw: Path, plain: Path) -> None:
    # Returns and test lines are no purchases; the published counts leave them out the same way.
    rows = 'FROM read_parquet(?) WHERE "Customer ID" IS NOT NULL AND Quantity > 0 AND Price > 0'
    _copy(
        'SELECT CAST("Customer ID" AS BIGINT) user_id, StockCode item_id, Quantity quantity, '
        f'InvoiceDate "timestamp" {rows}',
        plain / "interactions.parquet",
        raw / "online_retail_2009_2010.parquet",
    )
    _copy(
        f"SELECT StockCode item_id, mode(Description) title, median(Price) price {rows} "
        "GROUP BY StockCode",
        plain / "items.parquet",
        raw / "online_retail_2009_2010.parquet",
    )


REGISTRY: dict[str, KnownDataset] = {
    "movielens-100k": KnownDataset(
        title="MovieLens 100K (GroupLens), as packed in the recbole wheel",
        licence="GroupLens: research use, no redistribution",
        url="pypi:recbole==1.2.1",
        size_mb=2.1,
        files=("ml-100k.inter", "ml-100k.item"),
        sha256=_RECBOLE_SHA256,
        convert=_movielens_100k,
    ),
    "movielens-1m": KnownDataset(
        title="MovieLens 1M (GroupLens)",
        licence="GroupLens: research use, no redistribution",
        url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        size_mb=6,
        files=("ratings.dat", "movies.dat"),
        sha256="",
        convert=_double_colon("ratings.dat", "movies.dat"),
    ),
    "movielens-1m-sequences": KnownDataset(
        title="MovieLens 1M as item sequences (SASRec, BERT4Rec, gSASRec)",
        licence="GroupLens: research use, no redistribution",
        url="https://raw.githubusercontent.com/asash/gSASRec-pytorch/main/datasets/ml1m/input/sequences.txt",
        size_mb=4.5,
        files=("sequences.txt",),
        sha256="",
        convert=_movielens_1m_sequences,
    ),
    "movielens-32m": KnownDataset(
        title="MovieLens 32M (GroupLens)",
        licence="GroupLens: research use, no redistribution",
        url="https://files.grouplens.org/datasets/movielens/ml-32m.zip",
        size_mb=239,
        files=("ratings.csv", "movies.csv"),
        sha256="",
        convert=_movielens_csv,
    ),
    "movietweetings": KnownDataset(
        title="MovieTweetings 100K (Simon Dooms, Ghent University)",
        licence="MIT",
        url="https://github.com/sidooms/MovieTweetings",
        size_mb=4,
        files=("ratings.dat", "movies.dat"),
        sha256="",
        convert=_double_colon("ratings.dat", "movies.dat"),
    ),
    "online-retail-ii": KnownDataset(
        title="Online Retail II, 2009-2010 (Chen, UCI, doi:10.24432/C5CG6D), as Parquet",
        licence="CC BY 4.0",
        url="https://archive.ics.uci.edu/dataset/502/online+retail+ii",
        size_mb=6,
        files=("online_retail_2009_2010.parquet",),
        sha256="",
        convert=_online_retail,
    ),
}
