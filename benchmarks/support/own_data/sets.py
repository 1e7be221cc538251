"""The data sets, each as the files that a person would name to `pocketrec init`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.own_data import drawn
from pocketrec_bundle.errors import InputError
from pocketrec_training.data.sources import cache_dir, resolve
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.recipe.tables import DataConfig

FETCHED = "movielens-100k"
SECOND = 946_684_800
"""Time of the first event of a sequence, 2000-01-01; the next ones follow by a second each."""

Files = Callable[[Path | None, Path, int], list[Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSet:
    """One data set.

    Attributes:
        title: in the table.
        real: whether people made its events.
        files: (folder of the public data or None, folder to write to, seed) -> the files, the
            interactions first. Empty: the public files are not there.
    """

    title: str
    real: bool
    files: Files


def _public(folder: str, *names: str) -> Files:
    def files(data: Path | None, work: Path, seed: int) -> list[Path]:
        del work, seed
        found = [data / folder / name for name in names] if data else []
        return found if all(path.is_file() for path in found) else []

    return files


def _movielens_100k(data: Path | None, work: Path, seed: int) -> list[Path]:
    """Fetch the files of RecBole's wheel."""
    del data, work, seed
    resolve(Recipe(name=FETCHED, data=DataConfig(dataset=FETCHED)))
    raw = cache_dir() / FETCHED / "raw"
    return [raw / "ml-100k.inter", raw / "ml-100k.item"]


def _movielens_1m(data: Path | None, work: Path, seed: int) -> list[Path]:
    """Write the sequences, a user a line, as a table of an event a line.

    `init` does not read lines without a user. The order of a line becomes its times.
    """
    found = _public("movielens_1m_sequences", "sequences.txt")(data, work, seed)
    if not found:
        return []
    rows: list[tuple[str | int, ...]] = [
        (user, item, SECOND + place)
        for user, line in enumerate(found[0].read_text().splitlines())
        for place, item in enumerate(line.split())
    ]
    return [drawn.write(work / "sequences.csv", ("user_id", "item_id", "timestamp"), rows)]


SETS = {
    "movielens-100k": OwnSet(title="MovieLens-100K", real=True, files=_movielens_100k),
    "movielens-1m": OwnSet(title="MovieLens-1M, sequences", real=True, files=_movielens_1m),
    "movietweetings": OwnSet(
        title="MovieTweetings",
        real=True,
        files=_public("movietweetings", "ratings.dat", "movies.dat"),
    ),
    "retail": OwnSet(
        title="Online Retail II",
        real=True,
        files=_public("online_retail_ii", "online_retail_2009_2010.parquet"),
    ),
    "fashion": OwnSet(
        title="Amazon Fashion",
        real=True,
        files=_public("strangers", "amazon_fashion_5core.json"),
    ),
    "lastfm": OwnSet(
        title="Last.fm, plays without time",
        real=True,
        files=_public("strangers", "lastfm_user_artists.dat", "lastfm_artists.dat"),
    ),
    "steam": OwnSet(
        title="Steam, hours without time",
        real=True,
        files=_public("strangers", "steam_game_play.dat", "steam_games.dat"),
    ),
    "sessions": OwnSet(
        title="drawn anonymous sessions",
        real=False,
        files=lambda data, work, seed: drawn.sessions(work, seed),  # noqa: ARG005
    ),
    "news": OwnSet(
        title="drawn news with short lives",
        real=False,
        files=lambda data, work, seed: drawn.news(work, seed),  # noqa: ARG005
    ),
}


def chosen(only: tuple[str, ...], sets: dict[str, OwnSet]) -> dict[str, OwnSet]:
    """Return the sets with these names; all without names.

    Raises:
        InputError: a name is unknown.
    """
    if unknown := sorted(set(only) - set(sets)):
        raise InputError(f"--only: unknown {', '.join(unknown)}; known are {', '.join(sets)}.")
    return {name: each for name, each in sets.items() if not only or name in only}
