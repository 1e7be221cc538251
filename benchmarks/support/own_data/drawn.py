"""Draw data of shapes that no public file here has: anonymous sessions, news with short lives."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64

START = 1_700_000_000
MINUTE, DAY = 60, 86_400


def sessions(folder: Path, seed: int, n: int = 6000, n_items: int = 300) -> list[Path]:
    """Write `clicks.csv`: sessions of 3 to 8 clicks in 14 days, each visitor seen once.

    A click leads to one of three successors of its item, or anywhere by popularity (30%).
    """
    rng = np.random.default_rng(seed)
    share = _zipf(n_items)
    successors = rng.integers(0, n_items, (n_items, 3))
    rows = []
    for session in range(n):
        ts = START + int(rng.integers(0, 14 * DAY))
        item = int(rng.choice(n_items, p=share))
        for _ in range(int(rng.integers(3, 9))):
            rows.append((f"s{session}", f"p{item}", ts))
            ts += int(rng.integers(5, 3 * MINUTE))
            follows = rng.random() > 0.3
            item = int(rng.choice(successors[item]) if follows else rng.choice(n_items, p=share))
    return [write(folder / "clicks.csv", ("session_id", "product_id", "timestamp"), rows)]


def news(folder: Path, seed: int, n_users: int = 1500, n_articles: int = 900) -> list[Path]:
    """Write `reads.csv` and `articles.csv`: 30 days in which an article is read for about a day.

    A reader prefers two of eight topics; among articles of a topic the newer ones are read, and
    the attraction of an article decays with its age by a half-life of 8 hours.
    """
    rng = np.random.default_rng(seed)
    born = np.sort(rng.integers(0, 30 * DAY, n_articles))
    topic = rng.integers(0, 8, n_articles)
    charm = rng.lognormal(0, 1, n_articles)
    reads = []
    for user in range(n_users):
        likes = rng.choice(8, 2, replace=False)
        taste = np.where(np.isin(topic, likes), 8.0, 1.0) * charm
        met = np.zeros(n_articles, bool)
        for moment in np.sort(rng.integers(2 * DAY, 30 * DAY, int(rng.integers(5, 20)))):
            age = moment - born
            pull = np.where((age > 0) & ~met, taste * 0.5 ** (np.maximum(age, 0) / (DAY / 3)), 0.0)
            article = int(rng.choice(n_articles, p=pull / pull.sum()))
            met[article] = True
            reads.append((f"u{user}", f"n{article}", START + int(moment)))
    articles = [
        (f"n{i}", f"Report {i} of desk {topic[i]}", f"desk{topic[i]}") for i in range(n_articles)
    ]
    return [
        write(folder / "reads.csv", ("user_id", "article_id", "timestamp"), reads),
        write(folder / "articles.csv", ("article_id", "title", "category"), articles),
    ]


def _zipf(n: int) -> Floats64:
    share: NDArray[np.float64] = 1 / np.arange(1, n + 1, dtype=np.float64)
    share /= share.sum()
    return share


def write(path: Path, header: tuple[str, ...], rows: Iterable[Sequence[str | int]]) -> Path:
    """Write a table of comma-separated values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path
