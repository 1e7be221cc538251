"""Shared options and functions of the `pocketrec rollout` commands."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketrec import passphrase, rollout_table
from pocketrec.finite import FiniteRange

if TYPE_CHECKING:
    from pocketrec_bundle.settings.rollout import RolloutPolicy, Stage
    from pocketrec_server.repository.history import Note
    from pocketrec_server.repository.keys import Signers

CHANNEL = click.option("--channel", default="stable", show_default=True, help="Release channel.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
RELEASE = click.argument("release")
PERCENT = FiniteRange(0, 100)


class Moment(click.ParamType[int]):
    """A time such as 2026-12-01T08:00Z, converted to unix seconds; the default zone is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse the time."""
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r}: expected a time such as 2026-12-01T08:00Z", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


class OptionalMoment(Moment):
    """A time, or "" for none, which is converted to 0."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse the time."""
        return 0 if value == "" else super().convert(value, param, ctx)


class RampStep(click.ParamType[tuple[int, float]]):
    """A time and the percentage of devices from then on, such as 2026-12-01T08:00Z=25."""

    name = "time=percent"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, float]:
        """Parse the step."""
        begins, _, percent = value.partition("=")
        return Moment().convert(begins, param, ctx), PERCENT.convert(percent, param, ctx)


def change_release(
    release: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    as_json: bool,
    note: "Note",
    action: str,
    change: Callable[["RolloutPolicy", "Stage"], "RolloutPolicy"],
) -> None:
    """Change a release in a channel's policy, sign the policy, and print it."""
    from pocketrec_server.repository import publish as repository
    from pocketrec_server.repository.rollout import find

    repository.change_policy(
        repo,
        signers_of(repo, keys),
        channel,
        lambda policy: change(policy, find(policy, release)),
        note,
        action,
    )
    say(repo, channel, as_json)


def signers_of(repo: Path, keys: tuple[Path, ...]) -> "Signers":
    """Return the signers in folders of keys, after checking that the repository exists.

    Raises:
        RepositoryInvalidError: the repository is missing.
        KeysInvalidError: a folder of keys is missing.
    """
    from pocketrec_server.repository.keys import load_signers
    from pocketrec_server.repository.state import check_founded

    check_founded(repo)
    return load_signers(*keys, ask=passphrase.asked)


def say(repo: Path, channel: str, as_json: bool) -> None:
    """Print the current state of a channel."""
    facts = rollout_table.read(repo, channel)
    click.echo(json.dumps(facts) if as_json else "\n".join(rollout_table.lines(facts)))
