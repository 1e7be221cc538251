"""Options and steps of `pocketrec rollout advance` and `pocketrec experiment advance`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketrec.finite import FiniteRange
from pocketrec_bundle.errors import PocketRecError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from pocketrec_server.halting.waiting import Verdict


class NotHealthyError(PocketRecError):
    """The present stage does harm, so the next one does not begin; exit code 3."""

    exit_code = 3


class Steps(click.ParamType[tuple[float, ...]]):
    """Percentages with commas between them, such as 1,10,50,100."""

    name = "percent,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse the percentages."""
        one = FiniteRange(0, 100)
        return tuple(one.convert(part, param, ctx) for part in str(value).split(","))


STEPS = click.option(
    "--steps", type=Steps(), required=True, help="Percentages of the stages, such as 1,10,50,100."
)
NETWORKS = click.option(
    "--networks",
    type=click.IntRange(1, 10**6),
    default=200,
    show_default=True,
    help="Wait until so many networks reported.",
)
DAYS = click.option(
    "--days",
    type=FiniteRange(0, 366),
    default=1.0,
    show_default=True,
    help="Minimum days of a stage.",
)
DATABASE = click.option(
    "--database", default="", help="SQLAlchemy URL; default: SQLite in the repository."
)


@contextmanager
def reports(repo: Path, database: str) -> Iterator["Engine"]:
    """Open the database that has the reports of devices, for the block.

    Raises:
        InputError: it does not exist.
        DatabaseInvalidError: it cannot be read.
    """
    from pocketrec_bundle.errors import InputError
    from pocketrec_server.storage.database import default_url, is_there, open_database

    url = database or default_url(repo)
    if not is_there(url):
        raise InputError(f"{url}: does not exist. Give the database of the server: --database URL")
    engine = open_database(url)
    try:
        yield engine
    finally:
        engine.dispose()


def may_go_on(name: str, verdict: "Verdict") -> bool:
    """Return whether the next stage may begin; say on stderr why it waits.

    Raises:
        NotHealthyError: the present stage does harm.
    """
    if verdict.is_harm:
        raise NotHealthyError(f"{name}: {verdict.why}. It is not advanced.")
    if verdict.why is not None:
        click.echo(f"{name}: waits: {verdict.why}", err=True)
    return verdict.why is None
