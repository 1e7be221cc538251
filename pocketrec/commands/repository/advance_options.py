"""Options and steps of `pocketrec rollout advance` and `pocketrec experiment advance`."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO
from pocketrec.commands.repository.rollout_options import CHANNEL, JSON
from pocketrec.finite import FiniteRange
from pocketrec_bundle.errors import PocketRecError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from pocketrec_server.halting.waiting import Verdict, Wait


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


_OPTIONS = (
    click.option(
        "--steps",
        type=Steps(),
        required=True,
        help="Percentages of the stages, such as 1,10,50,100.",
    ),
    click.option(
        "--networks",
        type=click.IntRange(1, 10**6),
        default=200,
        show_default=True,
        help="Wait until so many networks reported.",
    ),
    click.option(
        "--days",
        type=FiniteRange(0, 366),
        default=1.0,
        show_default=True,
        help="Minimum days of a stage.",
    ),
    click.option(
        "--database", default="", help="SQLAlchemy URL; default: SQLite in the repository."
    ),
    REPO,
    KEYS,
    CHANNEL,
    BY,
    REASON,
    JSON,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """Stages of a ramp, and when the next one begins.

    Attributes:
        steps: percentages of the stages.
        networks: minimum networks that reported.
        days: minimum days of a stage.
        database: URL of the server's database; "": SQLite in the repository.
    """

    steps: tuple[float, ...]
    networks: int
    days: float
    database: str

    def next_stage(
        self, name: str, percent: float, repo: Path, judge: "Callable[[Engine, Wait], Verdict]"
    ) -> float | None:
        """Return the share of the next stage if it may begin; else say on stderr why not.

        Args:
            name: of what is advanced, for messages.
            percent: present share.
            repo: folder of the repository.
            judge: judges the present stage by the reports in a database.

        Raises:
            NotHealthyError: the present stage does harm.
            InputError: the steps do not rise, or the database does not exist.
            DatabaseInvalidError: the database cannot be read.
        """
        from pocketrec_server.halting.waiting import Wait, next_step

        step = next_step(self.steps, percent)
        if step is None:
            click.echo(f"{name}: is at its last stage", err=True)
            return None
        with _reports(repo, self.database) as engine:
            verdict = judge(engine, Wait(networks=self.networks, days=self.days))
        if verdict.is_harm:
            raise NotHealthyError(f"{name}: {verdict.why}. It is not advanced.")
        if verdict.why is not None:
            click.echo(f"{name}: waits: {verdict.why}", err=True)
            return None
        return step


def ramp_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of both commands; those of the ramp are one argument, `ramp`."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        ramp = Ramp(**{each.name: options.pop(each.name) for each in fields(Ramp)})
        command(ramp=ramp, **options)

    wrapped: Callable[..., None] = run
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


@contextmanager
def _reports(repo: Path, database: str) -> Iterator["Engine"]:
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
