"""Print the experiments of a channel, as plain values or as lines of text."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pocketrec_bundle.settings.experiment import Experiment
    from pocketrec_bundle.settings.experiments import Experiments
    from pocketrec_bundle.settings.halted_arms import HaltedArms
    from pocketrec_server.halting.looks import Look


def read(repo: Path, channel: str, database: str = "") -> dict[str, Any]:
    """Read the experiments of a channel, with their state now.

    Args:
        repo: folder of the repository.
        channel: name of the channel.
        database: URL of the server's database, which has the looks at guardrails; "": SQLite in
            the repository, if it exists.

    Raises:
        InputError: the channel or the named database does not exist.
        RepositoryInvalidError: nothing is published, or metadata is damaged.
        DatabaseInvalidError: the named database cannot be read.
    """
    from pocketrec_server.experiments.halted_arms import read_halted_arms
    from pocketrec_server.experiments.signing import read_experiments

    found = read_experiments(repo, channel)
    value = facts(found, read_halted_arms(repo, channel), time.time())
    for one, each in zip(value["experiments"], found.experiments, strict=True):
        one["looks"], one["not_looked"] = _looks(repo, channel, database, each)
    return value


def _looks(
    repo: Path, channel: str, database: str, one: "Experiment"
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the last looks at the guardrails, and texts of those that could not be made."""
    from pocketrec_server.errors import DatabaseInvalidError
    from pocketrec_server.halting.guard import not_looked_texts, subject_of
    from pocketrec_server.halting.looks import latest
    from pocketrec_server.storage.database import default_url, is_there, open_database

    if not one.guardrails or not is_there(database or default_url(repo)):
        return [], []
    try:
        engine = open_database(database or default_url(repo))
    except DatabaseInvalidError:
        if database:
            raise
        return [], []
    try:
        found = latest(engine, subject_of(channel, one))
        missing = not_looked_texts(engine, channel, one)
    finally:
        engine.dispose()
    return [plain_look(look) for look in found], missing


def plain_look(look: "Look") -> dict[str, Any]:
    """Return a look at a guardrail as plain values, with its `text`."""
    from pocketrec_server.halting.looks import text_of

    return asdict(look) | {"text": text_of(look)}


def say(repo: Path, channel: str, as_json: bool, database: str = "") -> None:
    """Print the experiments of a channel. Raises the errors of `read`."""
    found = read(repo, channel, database)
    click.echo(json.dumps(found) if as_json else "\n".join(lines(found)))


def facts(found: "Experiments", halted: "HaltedArms", now_utc: float) -> dict[str, Any]:
    """Return experiments as plain values, with `standing` and `percent_now` of each.

    Each arm has `halted`: the reason of its halt, or None.
    """
    value = found.to_json() | {"conversions": list(found.conversions)}
    for one, each in zip(value["experiments"], found.experiments, strict=True):
        one["percent_now"] = each.percent_at(now_utc)
        one["standing"] = each.state
        for arm in one["arms"]:
            arm["halted"] = halted.reason(each, arm["name"])
        if each.state in ("running", "paused"):
            if now_utc < each.from_utc:
                one["standing"] = "scheduled"
            elif now_utc >= each.until_utc:
                one["standing"] = "over"
    return value


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a channel's experiments, newest first."""
    from pocketrec_bundle.settings.experiment_sums import CONVERSIONS

    if not found["experiments"]:
        yield f"{found['channel']}: no experiments"
    else:
        head = ("experiment", "state", "layer", "segment", "enrolled", "from", "until", "arms")
        rows = [head, *(_row(one) for one in found["experiments"])]
        widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            yield "  ".join(cells).rstrip()
    for one in found["experiments"]:
        for arm in one["arms"]:
            if arm["halted"] is not None:
                yield f"{one['id']}: arm {arm['name']} is halted: {arm['halted']}"
        for look in one.get("looks", ()):
            yield f"{one['id']}: {look['text']}"
        for text in one.get("not_looked", ()):
            yield f"{one['id']}: {text}"
    if found["conversions"] != list(CONVERSIONS):
        yield f"conversions are {', '.join(found['conversions'])}"
    if found["holdout"]:
        yield f"{found['holdout']['share'] * 100:g}% of the devices are in no experiment (holdout)"


def difference(before: "Experiment", after: "Experiment") -> str:
    """Return a line with the settings of an experiment that changed; short ones with both values.

    Example: `blend: changed percent 10 to 50, until 2026-12-01T08:00Z to 2026-12-08T08:00Z`.
    """
    found = []
    for name in (field.name for field in fields(before)):
        old, new = getattr(before, name), getattr(after, name)
        if old == new:
            continue
        if name.endswith("_utc"):
            found.append(f"{name.removesuffix('_utc')} {_moment(old)} to {_moment(new)}")
        elif name in ("state", "percent", "layer", "winner"):
            found.append(f"{name} {_short(old)} to {_short(new)}")
        else:
            found.append(name)
    return f"{after.id}: changed {', '.join(found)}" if found else f"{after.id}: nothing changed"


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    low, high = one["segment"]
    standing = f"{one['standing']} {one['winner']}" if one["winner"] else one["standing"]
    return (
        one["id"],
        standing,
        one["layer"],
        f"{low:g}..{high:g}",
        f"{one['percent_now']:g}%",
        _moment(one["from_utc"]),
        _moment(one["until_utc"]),
        ", ".join(_arm(arm) for arm in one["arms"]),
    )


def _arm(arm: dict[str, Any]) -> str:
    parts = [key for key in ("rules", "head_weights", "campaigns") if arm[key] is not None]
    parts += [f"release {arm['release'][:12]}"] if arm["release"] else []
    parts += [f"models {arm['models']}"] if arm.get("models") else []
    parts += [f"{name}={value}" for name, value in arm["flags"].items()]
    changes = f" ({', '.join(parts)})" if parts else ""
    return f"{arm['name']} {arm['share'] * 100:g}%{changes}"


def _moment(utc: int) -> str:
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%dT%H:%MZ")
