"""Small files in the layouts of public data sets; all values are invented."""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

T0 = 1_500_000_000
N_USERS, N_ITEMS, N_EVENTS = 40, 30, 8
GENRES = ("Drama", "Comedy", "War", "Science Fiction")

Write = Callable[[Path], list[Path]]
LAYOUTS: dict[str, Write] = {}


def layout(write: Write) -> Write:
    """Register a layout by the name of its function."""
    LAYOUTS[write.__name__] = write
    return write


@pytest.fixture(scope="session")
def write_layout() -> Callable[[str, Path], list[Path]]:
    """Return a function: write the files of a layout to a folder; the interactions are first."""
    return lambda name, folder: LAYOUTS[name](folder)


def events() -> Iterator[tuple[int, int, int, int]]:
    """Yield user, item, stars from 1 to 5 and unix seconds; each user has times of his own."""
    draw = random.Random(7)  # noqa: S311 (invented rows)
    for user in range(1, N_USERS + 1):
        for place, item in enumerate(draw.sample(range(1, N_ITEMS + 1), N_EVENTS)):
            yield user, item, draw.choice((1, 2, 3, 4, 5, 5)), T0 + 86_400 * user + 1801 * place


def title(item: int) -> str:
    return f"The Tale of Place {item}"


def genres(item: int, mark: str = "|") -> str:
    return mark.join(GENRES[: 1 + item % 3])


def asin(item: int) -> str:
    return f"B00INVEN{item:02}"


def save(path: Path, head: str, rows: list[Any], mark: str = ",", **how: Any) -> Path:
    out = io.StringIO()
    quoting = how.get("quoting", csv.QUOTE_MINIMAL)
    writer = csv.writer(out, delimiter=mark, lineterminator=how.get("end", "\n"), quoting=quoting)
    writer.writerows([*([head.split(mark)] if head else []), *rows])
    path.write_bytes(out.getvalue().encode(how.get("encoding", "utf-8")))
    return path


def lines(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def json_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    data = ("\n".join(map(json.dumps, rows)) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def stamp(form: str, ts: int) -> str:
    return datetime.fromtimestamp(ts, UTC).strftime(form)


@layout
def amazon_2014(folder: Path) -> list[Path]:
    reviews = [
        {
            "reviewerID": f"A{user:013}",
            "asin": asin(item),
            "reviewerName": f"Reader {user}",
            "helpful": [0, 1],
            "reviewText": "It is as I had hoped. " * (1 + item % 3),
            "overall": float(stars),
            "summary": f"Good thing {item} of {user}",
            "unixReviewTime": ts // 86_400 * 86_400,
            "reviewTime": stamp("%m %d, %Y", ts),
        }
        for user, item, stars, ts in events()
    ]
    meta = [
        {
            "asin": asin(item),
            "title": title(item),
            "price": 3.5 + item,
            "brand": f"Brand {item % 4}",
            "categories": [["Shop", GENRES[item % 4]]],
        }
        for item in range(1, N_ITEMS + 1)
    ]
    return [
        json_lines(folder / "reviews_Toys_5.json.gz", reviews),
        json_lines(folder / "meta_Toys.json.gz", meta),
    ]


@layout
def amazon_2023(folder: Path) -> list[Path]:
    reviews = [
        {
            "rating": float(stars),
            "title": f"Good thing {item}, I said so {user} times",
            "text": "It is as I had hoped.",
            "images": [],
            "asin": asin(item + 40 * (user % 2)),
            "parent_asin": asin(item),
            "user_id": f"AGKHLEW2SOWHNMFQIJGBECAF{user:04}",
            "timestamp": 1000 * ts + 417,
            "helpful_vote": user % 3,
            "verified_purchase": True,
        }
        for user, item, stars, ts in events()
    ]
    meta = [
        {
            "main_category": GENRES[item % 4],
            "title": title(item),
            "average_rating": 4.1,
            "rating_number": 12 * item,
            "features": [],
            "description": ["A thing."],
            "price": 3.5 + item,
            "images": [{"thumb": "https://x/y.jpg"}],
            "store": f"Store {item % 5}",
            "categories": ["Shop", GENRES[item % 4]],
            "details": {"Size": "small"},
            "parent_asin": asin(item),
        }
        for item in range(1, N_ITEMS + 1)
    ]
    return [
        json_lines(folder / "All_Beauty.jsonl", reviews),
        json_lines(folder / "meta_All_Beauty.jsonl", meta),
    ]


@layout
def amazon_ratings_only(folder: Path) -> list[Path]:
    rows = [(asin(i), f"A{u:013}", float(s), ts) for u, i, s, ts in events()]
    return [save(folder / "Luxury_Beauty.csv", "", rows)]


@layout
def mind(folder: Path) -> list[Path]:
    rows = [
        "\t".join(
            (
                str(n),
                f"U{user}",
                stamp("%m/%d/%Y %I:%M:%S %p", ts).lstrip("0"),
                " ".join(f"N{100 + (item + k) % N_ITEMS}" for k in range(3)),
                f"N{99 + item}-1 N{100 + (item + 5) % N_ITEMS}-0 N{100 + (item + 9) % N_ITEMS}-0",
            )
        )
        for n, (user, item, _, ts) in enumerate(events(), 1)
    ]
    news = [
        "\t".join(
            (
                f"N{99 + n}",
                ("news", "sports", "health")[n % 3],
                f"news{GENRES[n % 4][:3].lower()}",
                f"{title(n)} Was Seen",
                f"A long abstract of what was seen at place {n}, and by whom.",
                f"https://assets.example/{n}.html",
                "[]",
                "[]",
            )
        )
        for n in range(1, N_ITEMS + 1)
    ]
    return [lines(folder / "behaviors.tsv", rows), lines(folder / "news.tsv", news)]


@layout
def yoochoose(folder: Path) -> list[Path]:
    rows = [
        (u, stamp("%Y-%m-%dT%H:%M:%S.123Z", ts), 214_530_000 + i, ("0", "S", "3", "5")[i % 4])
        for u, i, _, ts in events()
    ]
    return [save(folder / "yoochoose-clicks.dat", "", rows)]


@layout
def lastfm(folder: Path) -> list[Path]:
    rows = [(u, i, 17 * s * i + u) for u, i, s, _ in events()]
    artists = [
        (n, f"Band {n}", f"http://www.example/{n}", f"http://pic.example/{n}.jpg")
        for n in range(1, N_ITEMS + 1)
    ]
    how = {"mark": "\t", "end": "\r\n"}
    return [
        save(folder / "user_artists.dat", "userID\tartistID\tweight", rows, **how),
        save(folder / "artists.dat", "id\tname\turl\tpictureURL", artists, **how),
    ]


@layout
def steam_200k(folder: Path) -> list[Path]:
    rows: list[Any] = []
    for user, item, stars, _ in events():
        rows.append((5_000_000 + user, title(item), "purchase", 1.0, 0))
        if stars > 2:
            rows.append((5_000_000 + user, title(item), "play", 0.1 * stars * item, 0))
    return [save(folder / "steam-200k.csv", "", rows)]


@layout
def anime(folder: Path) -> list[Path]:
    rows = [(u, i, (-1, 7, 8, 9, 10, 10)[s]) for u, i, s, _ in events()]
    films = [
        (n, title(n), genres(n, ", "), ("TV", "Movie")[n % 2], n % 26, 5 + n / 10, 1000 * n)
        for n in range(1, N_ITEMS + 1)
    ]
    return [
        save(folder / "rating.csv", "user_id,anime_id,rating", rows),
        save(folder / "anime.csv", "anime_id,name,genre,type,episodes,rating,members", films),
    ]


@layout
def book_crossing(folder: Path) -> list[Path]:
    rows = [(276_000 + u, f"03454510{i:02}", (0, 5, 8)[s % 3]) for u, i, s, _ in events()]
    books = [
        (f"03454510{n:02}", f"{title(n)} é", f"Author {n % 9}", 1960 + n, "Press", "http://x", "y")
        for n in range(1, N_ITEMS + 1)
    ]
    how: dict[str, Any] = {"mark": ";", "quoting": csv.QUOTE_ALL, "encoding": "cp1252"}
    head = "ISBN;Book-Title;Book-Author;Year-Of-Publication;Publisher;Image-URL-S;Image-URL-M"
    return [
        save(folder / "BX-Book-Ratings.csv", "User-ID;ISBN;Book-Rating", rows, **how),
        save(folder / "BX-Books.csv", head, books, **how),
    ]


@layout
def retailrocket(folder: Path) -> list[Path]:
    kinds = ("view", "view", "view", "view", "addtocart", "transaction")
    rows = [
        (1000 * ts + 9, u, kinds[s], i, 7000 + u * i if kinds[s] == "transaction" else "")
        for u, i, s, ts in events()
    ]
    properties = [
        (1000 * T0, item, name, f"{item} {name}")
        for item in range(1, N_ITEMS + 1)
        for name in ("categoryid", "790", "888", "available")
    ]
    return [
        save(folder / "events.csv", "timestamp,visitorid,event,itemid,transactionid", rows),
        save(folder / "item_properties.csv", "timestamp,itemid,property,value", properties),
    ]


@layout
def recbole(folder: Path) -> list[Path]:
    rows = [(u, i, s, ts) for u, i, s, ts in events()]
    items = [(n, title(n), 1960 + n, genres(n, " ")) for n in range(1, N_ITEMS + 1)]
    users = [(n, 20 + n % 50, "FM"[n % 2]) for n in range(1, N_USERS + 1)]
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    columns = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    return [
        save(folder / "films.inter", head, rows, "\t"),
        save(folder / "films.item", columns, items, "\t"),
        save(folder / "films.user", "user_id:token\tage:token\tgender:token", users, "\t"),
    ]


@layout
def movielens_latest(folder: Path) -> list[Path]:
    ratings = [(u, i, s - 0.5, ts) for u, i, s, ts in events()]
    movies = [(n, f"{title(n)}, A ({1960 + n})", genres(n)) for n in range(1, N_ITEMS + 1)]
    tags = [(u, i, "well made", ts) for u, i, s, ts in events() if s == 5]
    links = [(n, f"{114_000 + n:07}", 862 + n) for n in range(1, N_ITEMS + 1)]
    return [
        save(folder / "ratings.csv", "userId,movieId,rating,timestamp", ratings),
        save(folder / "movies.csv", "movieId,title,genres", movies),
        save(folder / "tags.csv", "userId,movieId,tag,timestamp", tags),
        save(folder / "links.csv", "movieId,imdbId,tmdbId", links),
    ]


@layout
def movielens_100k(folder: Path) -> list[Path]:
    flags = [[str(int(n % 19 == k)) for k in range(19)] for n in range(N_ITEMS + 1)]
    items = [
        (n, f"{title(n)} é ({1960 + n})", f"01-Jan-{1960 + n}", "", f"http://x/{n}", *flags[n])
        for n in range(1, N_ITEMS + 1)
    ]
    return [
        save(folder / "u.data", "", [*events()], "\t"),
        save(folder / "u.item", "", items, "|", encoding="cp1252"),
    ]


@layout
def movielens_1m(folder: Path) -> list[Path]:
    ratings = [f"{u}::{i}::{s}::{ts}" for u, i, s, ts in events()]
    movies = [f"{n}::{title(n)} ({1960 + n})::{genres(n)}" for n in range(1, N_ITEMS + 1)]
    users = [f"{n}::F::{18 + n % 30}::{n % 20}::48067" for n in range(1, N_USERS + 1)]
    return [
        lines(folder / "ratings.dat", ratings),
        lines(folder / "movies.dat", movies),
        lines(folder / "users.dat", users),
    ]


@layout
def online_retail(folder: Path) -> list[Path]:
    rows = [
        (
            536_365 + u * 10 + ts % 7,
            f"85{i:03}A",
            f"WHITE MUG {i}",
            s if ts % 11 else -1,
            stamp("%m/%d/%Y %H:%M", ts - ts % 5403).lstrip("0"),
            2.5 + i,
            17_850 + u if ts % 9 else "",
            "United Kingdom",
        )
        for u, i, s, ts in events()
    ]
    head = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
    return [save(folder / "Online Retail.csv", head, rows)]
